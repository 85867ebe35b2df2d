/** The page: what stands on top of it, and which view an address shows. */

import { render } from "preact";
import { useEffect, useState } from "preact/hooks";
import { logIn, Refused, type IndexInfo, type Service } from "./api";
import { address, followLinks, go, usePlace, type Place } from "./addresses";
import { listen, useKeys } from "./keys";
import { useAnswer, useSending } from "./loading";
import { Busy, Problem } from "./parts/basics";
import { Help } from "./parts/help";
import { useUploading, type Uploading } from "./parts/uploading";
import { speak, t, useLanguage, type Language, type Word } from "./words";
import { Browse } from "./views/browse";
import { Compare } from "./views/compare";
import { AllGroups, OneGroup } from "./views/groups";
import { Indexes } from "./views/indexes";
import { Jobs } from "./views/jobs";
import { Page } from "./views/page";
import { Query } from "./views/query";
import { Results } from "./views/results";
import { Similar } from "./views/similar";

function App() {
  useLanguage();
  const service = useAnswer<Service>("/api");
  if (service.refused) return <Problem refused={service.refused} />;
  if (!service.data) return null;
  if (!service.data.authenticated) return <LogIn onDone={service.reload} />;
  return <House service={service.data} />;
}

function House({ service }: { service: Service }) {
  const place = usePlace();
  const indexes = useAnswer<{ indexes: IndexInfo[] }>("/api/indexes");
  const known = indexes.data?.indexes ?? [];
  const named = place.path[0] === "i" ? place.path[1] : place.params.get("index");
  const current = known.find(({ name }) => name === named) ?? (known.length === 1 ? known[0] : undefined);
  const uploading = useUploading(current?.name ?? null);
  const [help, setHelp] = useState(false);
  useKeys([{ keys: ["?"], does: "keys.help", act: () => setHelp(true) }]);
  useEffect(() => {
    document.title = titleOf(place);
  });
  return (
    <>
      <header class="top">
        <a class="brand" href="/">
          calque
        </a>
        {known.length > 1 && (
          <label class="choice">
            <span>{t("nav.index")}</span>
            <select value={current?.name ?? ""} onChange={(event) => go(address(event.currentTarget.value))}>
              {!current && <option value="" />}
              {known.map(({ name }) => (
                <option value={name} selected={name === current?.name}>
                  {name}
                </option>
              ))}
            </select>
          </label>
        )}
        <nav aria-label={t("nav")}>
          {current && <Tab to={address(current.name)} now={place.path.length === 2} words={t("nav.browse")} />}
          {current && (
            <Tab to={address(current.name, "query")} now={place.path[2] === "query"} words={t("nav.query")} />
          )}
          {current && current.models.length > 0 && (
            <Tab to={address(current.name, "similar")} now={place.path[2] === "similar"} words={t("nav.similar")} />
          )}
          {current && (
            <Tab to={address(current.name, "groups")} now={place.path[2] === "groups"} words={t("nav.groups")} />
          )}
          {current?.map && <Tab to={current.map} now={false} words={t("nav.map")} />}
          {!service.read_only && (
            <Tab
              to={current ? `/jobs?index=${encodeURIComponent(current.name)}` : "/jobs"}
              now={place.path[0] === "jobs"}
              words={t("nav.jobs")}
            />
          )}
        </nav>
        {uploading.busy && <span role="status">{t("query.sending")}</span>}
        <div class="tail">
          <button
            type="button"
            onClick={() => speak(t("language.other.code") as Language)}
            lang={t("language.other.code")}
          >
            {t("language.other")}
          </button>
          <button type="button" onClick={() => setHelp(true)} aria-label={t("help.title")}>
            ?
          </button>
        </div>
      </header>
      {indexes.refused && <Problem refused={indexes.refused} />}
      {!indexes.data && !indexes.refused && <Busy />}
      {indexes.data && (
        <View
          place={place}
          indexes={known}
          current={current}
          service={service}
          uploading={uploading}
          onChange={indexes.reload}
        />
      )}
      {help && <Help onClose={() => setHelp(false)} />}
    </>
  );
}

function titleOf({ path: [first, index, view, number] }: Place): string {
  const views: Readonly<Record<string, Word>> = {
    query: "nav.query",
    search: "results.asked",
    similar: "similar.title",
    compare: "compare.title",
    groups: "groups.title",
  };
  const word = views[view ?? ""];
  const parts = first === "jobs" ? [t("jobs.title")] : [number, word && t(word), index];
  return [...parts, "calque"].filter(Boolean).join(" · ");
}

function Tab({ to, now, words }: { to: string; now: boolean; words: string }) {
  return (
    <a href={to} {...(now ? { "aria-current": "page" as const } : {})}>
      {words}
    </a>
  );
}

interface ViewProps {
  place: Place;
  indexes: readonly IndexInfo[];
  current: IndexInfo | undefined;
  service: Service;
  uploading: Uploading;
  onChange: () => void;
}

function View({ place, indexes, current, service, uploading, onChange }: ViewProps) {
  const { path, params } = place;
  const writable = !service.read_only;
  if (path.length === 0) return <Indexes indexes={indexes} />;
  if (path[0] === "jobs" && writable)
    return <Jobs service={service} indexes={indexes} current={current} onChange={onChange} />;
  if (path[0] !== "i" || !current) return <Problem refused={new Refused(404, "")} />;
  const index = current.name;
  const number = Number(path[3]);
  const likens = current.models.length > 0;
  if (path.length === 2) return <Browse index={current} params={params} />;
  if (path[2] === "query") return <Query index={index} params={params} uploading={uploading} likens={likens} />;
  if (path[2] === "search")
    return <Results index={index} fields={current.fields} params={params} writable={writable} />;
  if (path[2] === "similar") return <Similar index={current} params={params} />;
  if (path[2] === "compare") return <Compare index={index} params={params} writable={writable} />;
  if (path[2] === "image" && number) return <Page index={index} id={number} params={params} likens={likens} />;
  if (path[2] === "groups" && number)
    return <OneGroup index={index} number={number} params={params} writable={writable} />;
  if (path[2] === "groups") return <AllGroups index={index} params={params} writable={writable} />;
  return <Problem refused={new Refused(404, "")} />;
}

function LogIn({ onDone }: { onDone: () => void }) {
  const [token, setToken] = useState("");
  const { refused, send } = useSending();
  return (
    <main class="narrow">
      <h1>{t("login.title")}</h1>
      <form
        class="panel"
        onSubmit={(event) => {
          event.preventDefault();
          send(logIn(token), onDone);
        }}
      >
        <label>
          <span>{t("login.token")}</span>
          <input type="password" required value={token} onInput={(event) => setToken(event.currentTarget.value)} />
        </label>
        <button type="submit" class="main">
          {t("login.send")}
        </button>
        {refused && <Problem refused={refused} />}
      </form>
    </main>
  );
}

followLinks();
listen();
render(<App />, document.body);
