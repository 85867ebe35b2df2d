/** A picture of the reader's own as the query. */

import type { Upload } from "../api";
import { useAnswer } from "../loading";
import { Busy, Facts, Problem } from "../parts/basics";
import type { Uploading } from "../parts/uploading";
import { number, t } from "../words";
import { Ask } from "./ask";

interface Props {
  index: string;
  params: URLSearchParams;
  uploading: Uploading;
  likens: boolean;
}

export function Query({ index, params, uploading, likens }: Props) {
  const id = params.get("upload");
  const upload = useAnswer<Upload>(id === null ? null : `/api/uploads/${encodeURIComponent(id)}`);
  if (id === null || upload.refused) {
    const refused = uploading.refused ?? upload.refused;
    return (
      <main class="narrow">
        <h1>{t("query.title")}</h1>
        <p>{t("query.what")}</p>
        {refused && <Problem refused={refused} />}
        <label class="drop">
          <span>{t(uploading.busy ? "query.sending" : "query.drop")}</span>
          <input
            class="hidden"
            type="file"
            accept="image/*,.tif,.tiff,.jp2,.pdf"
            disabled={uploading.busy}
            onChange={(event) => uploading.send(event.currentTarget.files?.[0])}
          />
        </label>
        <p class="note">{t("query.forgotten")}</p>
      </main>
    );
  }
  if (!upload.data || upload.data.id !== id) return <Busy />;
  const { data } = upload;
  return (
    <Ask
      index={index}
      likens={likens}
      picture={{ ...data, title: data.name }}
      named={{ upload: id }}
      params={params}
      regions={[]}
      key={id}
    >
      <section>
        <h1 class="name">{data.name}</h1>
        <Facts rows={[[t("page.size"), t("pixels", { width: number(data.width), height: number(data.height) })]]} />
        <p class="note">{t("query.forgotten")}</p>
      </section>
    </Ask>
  );
}
