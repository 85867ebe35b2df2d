/** All indexes that are served. */

import { useEffect } from "preact/hooks";
import type { IndexInfo } from "../api";
import { address, go } from "../addresses";
import { t } from "../words";

export function Indexes({ indexes }: { indexes: readonly IndexInfo[] }) {
  const [sole] = indexes;
  const alone = indexes.length === 1;
  useEffect(() => {
    if (alone && sole) go(address(sole.name), true);
  }, [alone, sole]);
  return (
    <main>
      <h1>{t("indexes.title")}</h1>
      <ul class="indexes">
        {indexes.map((index) => (
          <li>
            <h2>
              <a href={address(index.name)}>{index.name}</a>
            </h2>
            <p>
              {t("indexes.images", { n: index.images })} · {t("indexes.judgements", { n: index.judgements })}
            </p>
            {!index.ready && <p class="note">{t("indexes.warming")}</p>}
          </li>
        ))}
      </ul>
      {!indexes.length && <p class="nothing">{t("indexes.none")}</p>}
    </main>
  );
}
