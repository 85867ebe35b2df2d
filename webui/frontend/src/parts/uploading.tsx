/** A picture of the reader's own: chosen, dropped anywhere on the page, or pasted. */

import { useEffect } from "preact/hooks";
import { upload } from "../api";
import { address, go } from "../addresses";
import { useSending, type Sending } from "../loading";

export interface Uploading extends Omit<Sending, "send"> {
  send: (file: File | null | undefined) => void;
}

/** Take pictures that are dropped or pasted anywhere; each opens as a query to `index`. */
export function useUploading(index: string | null): Uploading {
  const sending = useSending();
  const send = (file: File | null | undefined): void => {
    if (!file || index === null) return;
    go(address(index, "query"));
    sending.send(upload(file, file.name), ({ id }) => go(address(index, "query", { upload: id }), true));
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
    const control = new AbortController();
    const { signal } = control;
    document.addEventListener("dragover", allow, { signal });
    document.addEventListener("drop", drop, { signal });
    document.addEventListener("paste", paste, { signal });
    return () => control.abort();
  }, [index]);
  return { ...sending, send };
}
