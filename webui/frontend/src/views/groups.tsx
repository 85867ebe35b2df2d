/** What an index has more than once: all groups, and one of them with its members in one frame. */

import { useState } from "preact/hooks";
import {
  api,
  crop,
  judge,
  startJob,
  type Group,
  type Groups,
  type Judged,
  type Member,
  type Verdict,
} from "../api";
import { address, adjust, changed, go, only, shapeParams } from "../addresses";
import { useKeys } from "../keys";
import { useAnswer, useSending } from "../loading";
import { Busy, Exports, Facts, File, ImageLink, known, Pager, Problem, Switch, titled } from "../parts/basics";
import { Badges, LitCrop, Sure, VerdictButtons } from "../parts/finds";
import { t } from "../words";
import { cornersOf } from "../viewer/shapes";

const LIMIT = 24;
const CONDITIONS = ["where", "max_false_alarms"];

interface Props {
  index: string;
  params: URLSearchParams;
  writable: boolean;
}

export function AllGroups({ index, params, writable }: Props) {
  const offset = Number(params.get("offset")) || 0;
  const asked = only(params, CONDITIONS);
  const groups = useAnswer<Groups>(api(index, "groups", changed(asked, { offset: offset || null, limit: LIMIT })));
  const { data } = groups;
  const total = data?.total ?? 0;
  const at = (to: number): string => address(index, "groups", changed(params, { offset: to || null }));
  useKeys([
    { keys: ["n"], does: "keys.forward", act: () => offset + LIMIT < total && go(at(offset + LIMIT)) },
    { keys: ["p"], does: "keys.back", act: () => offset > 0 && go(at(Math.max(offset - LIMIT, 0))) },
  ]);
  return (
    <main>
      <header class="bar">
        <h1>{t("groups.title")}</h1>
        <p role="status">{data && t("groups.count", { n: total })}</p>
        <Pager offset={offset} limit={LIMIT} total={total} at={at} />
        <Exports
          forms={["csv", "jsonl", "iiif", "coco", "graphml"]}
          at={(form) => api(index, "groups/export", changed(asked, { form }))}
        />
      </header>
      {groups.refused && <Problem refused={groups.refused} />}
      {!data && !groups.refused && <Busy />}
      {data && data.asked < data.images && <Unasked index={index} groups={data} writable={writable} />}
      <ul class="groups">
        {data?.groups.map((group) => (
          <li key={group.group}>
            <a href={address(index, `groups/${group.group}`, asked)}>
              <h2>{t("groups.size", { n: group.size })}</h2>
              <span class="strip">
                {group.members.map((member) => (
                  <img src={crop(member.iiif, member.region, 240)} alt="" loading="lazy" />
                ))}
              </span>
              <span class="name">{group.members[0] && titled(group.members[0])}</span>
            </a>
          </li>
        ))}
      </ul>
      {data && !total && data.asked === data.images && <p class="nothing">{t("groups.none")}</p>}
    </main>
  );
}

/** Some images have not been asked for their likes: groups may be missing. */
function Unasked({ index, groups, writable }: { index: string; groups: Groups; writable: boolean }) {
  const { refused, send } = useSending();
  const start = (): void =>
    send(startJob({ kind: "groups", index }), () => go(`/jobs?index=${encodeURIComponent(index)}`));
  return (
    <div class="note panel">
      <p>{t("groups.unasked", { n: groups.images - groups.asked })}</p>
      {writable && (
        <button type="button" class="main" onClick={start}>
          {t("groups.ask")}
        </button>
      )}
      {refused && <Problem refused={refused} />}
    </div>
  );
}

const SHOWN = ["place", "alone", "half", "difference"] as const;
type Shown = (typeof SHOWN)[number];

export function OneGroup({ index, number, params, writable }: Props & { number: number }) {
  const asked = only(params, CONDITIONS);
  const group = useAnswer<Group>(api(index, `groups/${number}`, asked));
  const reference = group.data?.members.find((member) => member.reference);
  const [judged, setJudged] = useState<ReadonlyMap<Member, Verdict>>(new Map());
  const sending = useSending();
  const shown: Shown = SHOWN.find((one) => one === params.get("view")) ?? "place";
  const show = (chosen: Shown): void => adjust({ view: chosen });
  const step = (to: number): void => {
    if (to > 0) go(address(index, `groups/${to}`, only(params, [...CONDITIONS, "view"])));
  };
  useKeys([
    ...SHOWN.map((one, i) => ({ keys: [String(i + 1)], does: `shown.${one}` as const, act: () => show(one) })),
    { keys: ["n"], does: "keys.group.next", act: () => step(number + 1) },
    { keys: ["p"], does: "keys.group.previous", act: () => step(number - 1) },
  ]);
  if (group.refused) return <Problem refused={group.refused} />;
  if (!group.data || !reference) return <Busy />;
  const decide = (member: Member, verdict: Verdict): void => {
    const place = ({ id, region }: Member): Judged => ({ image: id, region });
    sending.send(judge(index, place(reference), place(member), verdict), () =>
      setJudged((known) => new Map(known).set(member, verdict)),
    );
  };
  return (
    <main>
      <header class="bar">
        <h1>{t("group.title", { number })}</h1>
        <p>{t("groups.size", { n: group.data.members.length })}</p>
        <Switch
          label={t("group.shown")}
          options={SHOWN.map((one) => [one, t(`shown.${one}`)])}
          value={shown}
          onChoose={show}
        />
        <Exports
          forms={["csv", "jsonl", "iiif", "coco", "graphml"]}
          at={(form) => api(index, "groups/export", changed(asked, { form, group: number }))}
        />
        <a href={address(index, "groups", asked)}>{t("group.all")}</a>
      </header>
      {sending.refused && <Problem refused={sending.refused} />}
      <ul class="grid finds">
        {[reference, ...group.data.members.filter((member) => member !== reference)].map((member) => (
          <li key={`${member.id} ${member.region.join()}`} class={member.reference ? "reference" : ""}>
            <a
              class="picture"
              href={
                member.reference
                  ? address(index, `image/${member.id}`, { region: member.region.join(",") })
                  : comparisonWith(index, reference, member)
              }
            >
              <Registered member={member} reference={reference} shown={shown} />
            </a>
            <h2 class="name">
              <ImageLink index={index} id={member.id}>
                {titled(member)}
              </ImageLink>
              <File of={member.title} path={member.image} />
            </h2>
            {member.reference ? (
              <p class="badges">
                <span class="badge self">{t("group.reference")}</span>
              </p>
            ) : (
              <>
                <Badges relation={member.relation} rotation={member.rotation} />
                <Sure falseAlarms={member.false_alarms} />
              </>
            )}
            <Facts rows={known(member, member.image).slice(0, 3)} />
            {writable && !member.reference && (
              <VerdictButtons
                value={judged.get(member) ?? member.judgement}
                onJudge={(verdict) => decide(member, verdict)}
              />
            )}
          </li>
        ))}
      </ul>
    </main>
  );
}

/** A member where it lies, or in the frame of the reference, alone or with the reference laid upon it. */
function Registered({ member, reference, shown }: { member: Member; reference: Member; shown: Shown }) {
  const alt = t("group.compare", { name: titled(member) });
  if (shown === "place") {
    return <LitCrop shown={member} region={member.region} polygon={cornersOf(member.region)} alt={alt} />;
  }
  const under = shown !== "alone" && member !== reference;
  return (
    <span class="stack" data-shown={under ? shown : "alone"}>
      <img src={member.registered} alt={alt} loading="lazy" />
      {under && <img class="under" src={reference.registered} alt="" loading="lazy" />}
    </span>
  );
}

function comparisonWith(index: string, reference: Member, member: Member): string {
  const place = ({ region }: Member): string | null => shapeParams({ box: region }).region;
  return address(index, "compare", {
    image: reference.id,
    region: place(reference),
    with: member.id,
    place: place(member),
  });
}
