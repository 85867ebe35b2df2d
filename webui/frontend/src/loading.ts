/** Answers of the server as state: loading, there, or refused; and what is sent to it. */

import { useEffect, useState } from "preact/hooks";
import { get, Refused } from "./api";

export interface Loading<T> {
  /** The last answer; that of an earlier address stays until the new one is there. */
  data: T | null;
  refused: Refused | null;
  busy: boolean;
  reload: () => void;
}

/** Ask `address` (null: nothing), and again when it changes. */
export function useAnswer<T>(address: string | null): Loading<T> {
  const [state, setState] = useState<{ data: T | null; refused: Refused | null; of: string | null }>({
    data: null,
    refused: null,
    of: null,
  });
  const [times, setTimes] = useState(0);
  useEffect(() => {
    if (address === null) return undefined;
    const control = new AbortController();
    get<T>(address, control.signal).then(
      (data) => setState({ data, refused: null, of: address }),
      (error: unknown) => {
        if (control.signal.aborted) return;
        if (!(error instanceof Refused)) throw error;
        setState({ data: null, refused: error, of: address });
      },
    );
    return () => control.abort();
  }, [address, times]);
  return {
    data: address === null ? null : state.data,
    refused: state.of === address ? state.refused : null,
    busy: state.of !== address,
    reload: () => setTimes((n) => n + 1),
  };
}

export interface Sending {
  busy: boolean;
  /** Why what was sent last was not taken. */
  refused: Refused | null;
  send: <T>(sent: Promise<T>, done: (answer: T) => void) => void;
}

/** Send something, and remember whether it was refused. */
export function useSending(): Sending {
  const [busy, setBusy] = useState(false);
  const [refused, setRefused] = useState<Refused | null>(null);
  const send = <T>(sent: Promise<T>, done: (answer: T) => void): void => {
    setBusy(true);
    setRefused(null);
    sent
      .then(done, (error: unknown) => {
        if (!(error instanceof Refused)) throw error;
        setRefused(error);
      })
      .finally(() => setBusy(false));
  };
  return { busy, refused, send };
}
