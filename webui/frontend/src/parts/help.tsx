/** The keys that can be pressed now, in a dialog. */

import { useEffect, useRef } from "preact/hooks";
import { keysNow } from "../keys";
import { t } from "../words";

export function Help({ onClose }: { onClose: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => dialog.current?.showModal(), []);
  return (
    <dialog ref={dialog} onClose={onClose} aria-labelledby="help">
      <h2 id="help">{t("help.title")}</h2>
      <dl class="keys">
        {keysNow().map(({ keys, does }) => (
          <>
            <dt>
              {keys.map((key) => (
                <kbd>{named(key)}</kbd>
              ))}
            </dt>
            <dd>{t(does)}</dd>
          </>
        ))}
      </dl>
      <p class="note">{t("help.shape")}</p>
      <button type="button" onClick={() => dialog.current?.close()}>
        {t("help.close")}
      </button>
    </dialog>
  );
}

function named(key: string): string {
  const names: Readonly<Record<string, string>> = { enter: "⏎", escape: "Esc", arrowleft: "←", arrowright: "→" };
  return names[key] ?? key.toUpperCase();
}
