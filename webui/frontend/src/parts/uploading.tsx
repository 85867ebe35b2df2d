/** A picture of the reader's own: chosen, dropped anywhere on the page, or pasted. */

import { useEffect, useState } from "preact/hooks";
import { Refused, upload } from "../api";
import { address, go } from "../addresses";

export interface Uploading {
  busy: boolean;
  refused: Refused | null;
  send: (file: File | null | undefined) => void;
}

/** Take pictures that are dropped or pasted anywhere; each opens as a query to `index`. */
export function useUploading(index: string | null): Uploading {
  const [busy, setBusy] = useState(false);
  const [refused, setRefused] = useState<Refused | null>(null);
  const send = (file: File | null | undefined): void => {
    if (!file || index === null) return;
    setBusy(true);
    setRefused(null);
    upload(file, file.name)
      .then(
        ({ id }) => go(address(index, "query", { upload: id })),
        (error: unknown) => {
          if (!(error instanceof Refused)) throw error;
          setRefused(error);
          go(address(index, "query"));
        },
      )
      .finally(() => setBusy(false));
  };
  useEffect(() => {
    const allow = (event: DragEvent): void => {
      if (event.dataTransfer?.types.includes("Files")) event.preventDefault();
    };
    const drop = (event: DragEvent): void => {
      if (!event.dataTransfer?.files.length) return;
      event.preventDefault();
      send(event.dataTransfer.files[0]);
    };
    const paste = (event: ClipboardEvent): void => send(event.clipboardData?.files[0]);
    document.addEventListener("dragover", allow);
    document.addEventListener("drop", drop);
    document.addEventListener("paste", paste);
    return () => {
      document.removeEventListener("dragover", allow);
      document.removeEventListener("drop", drop);
      document.removeEventListener("paste", paste);
    };
  }, [index]);
  return { busy, refused, send };
}
