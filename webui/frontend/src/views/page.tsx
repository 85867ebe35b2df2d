/** One image of an index, its regions, what is known of it. */

import { api, type ImageDetail, type Judgement } from "../api";
import { address, go } from "../addresses";
import { useKeys } from "../keys";
import { useAnswer } from "../loading";
import { Busy, Facts, ImageLink, known, Problem, titled } from "../parts/basics";
import { number, t } from "../words";
import { Ask } from "./ask";

interface Props {
  index: string;
  id: number;
  params: URLSearchParams;
  likens: boolean;
}

export function Page({ index, id, params, likens }: Props) {
  const image = useAnswer<ImageDetail>(api(index, `images/${id}`));
  const judged = useAnswer<{ judgements: Judgement[] }>(
    api(index, "judgements", new URLSearchParams({ image: String(id) })),
  );
  const open = (other: number | null | undefined): void => {
    if (other != null) go(address(index, `image/${other}`));
  };
  useKeys([
    { keys: ["n"], does: "keys.next", act: () => open(image.data?.next) },
    { keys: ["p"], does: "keys.previous", act: () => open(image.data?.previous) },
  ]);
  if (image.refused) return <Problem refused={image.refused} />;
  if (!image.data || image.data.id !== id) return <Busy />;
  const { data } = image;
  const regions = [...data.regions, ...data.things.map((thing) => ({ ...thing, kind: "thing" as const }))];
  return (
    <Ask index={index} likens={likens} picture={data} named={{ image: id }} params={params} regions={regions} key={id}>
      <section>
        <h1 class="name">
          {titled(data)}
        </h1>
        <nav class="step" aria-label={t("page.step")}>
          <Step index={index} to={data.previous} words={t("page.previous")} />
          <Step index={index} to={data.next} words={t("page.next")} />
        </nav>
        <Facts
          rows={[
            ...known(data, data.name),
            ...(data.name !== data.title ? [[t("page.file"), data.name] as const] : []),
            [t("page.size"), t("pixels", { width: number(data.width), height: number(data.height) })],
          ]}
        />
      </section>
      {judged.data && judged.data.judgements.length > 0 && (
        <section>
          <h2>{t("page.judged")}</h2>
          <ul>
            {judged.data.judgements.map((judgement) => {
              const first = judgement.image_a === id;
              const other = first ? judgement.image_b : judgement.image_a;
              const name = first ? judgement.name_b : judgement.name_a;
              return (
                <li class="name">
                  <span class={`mark ${judgement.verdict}`}>{t(`verdict.${judgement.verdict}`)}</span>{" "}
                  {other === null ? name : <ImageLink index={index} id={other} children={name} />}
                </li>
              );
            })}
          </ul>
        </section>
      )}
    </Ask>
  );
}

function Step({ index, to, words }: { index: string; to: number | null; words: string }) {
  if (to === null) return <span aria-hidden="true">{words}</span>;
  return <a href={address(index, `image/${to}`)}>{words}</a>;
}
