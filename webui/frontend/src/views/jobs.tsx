/** Add images to an index, and watch what the server is doing. */

import { useEffect, useRef, useState } from "preact/hooks";
import { cancelJob, startJob, type IndexInfo, type Job, type Service } from "../api";
import { address } from "../addresses";
import { useAnswer, useSending } from "../loading";
import { Facts, Problem } from "../parts/basics";
import { t } from "../words";

interface Props {
  service: Service;
  indexes: readonly IndexInfo[];
  current: IndexInfo | undefined;
  onChange: () => void;
}

export function Jobs({ service, indexes, current, onChange }: Props) {
  const jobs = useAnswer<{ jobs: Job[] }>("/api/jobs");
  const sending = useSending();
  const form = useRef<HTMLFormElement>(null);
  const add = (event: Event): void => {
    event.preventDefault();
    if (!form.current) return;
    const values = new FormData(form.current);
    const [index, source] = [String(values.get("index")), String(values.get("source")).trim()];
    sending.send(startJob({ kind: "add", index, source }), () => {
      form.current?.reset();
      jobs.reload();
    });
  };
  return (
    <main class="narrow">
      <h1>{t("jobs.title")}</h1>
      <form class="panel" ref={form} onSubmit={add}>
        <label>
          <span>{t("jobs.index")}</span>
          <select name="index">
            {indexes.map(({ name }) => (
              <option selected={name === current?.name}>{name}</option>
            ))}
          </select>
        </label>
        <label>
          <span>{t(service.addresses ? "jobs.source.any" : "jobs.source.folder")}</span>
          <input name="source" required list="folders" autocomplete="off" spellcheck={false} />
        </label>
        <datalist id="folders">
          {service.folders.map((folder) => (
            <option value={folder} />
          ))}
        </datalist>
        {service.folders.length > 0 && <p class="note">{t("jobs.folders", { folders: service.folders.join(", ") })}</p>}
        <button type="submit" class="main">
          {t("jobs.add")}
        </button>
        {sending.refused && <Problem refused={sending.refused} />}
      </form>
      {jobs.refused && <Problem refused={jobs.refused} />}
      <ul>
        {jobs.data?.jobs.map((job) => (
          <Progress job={job} key={job.id} onEnd={onChange} />
        ))}
      </ul>
      {jobs.data?.jobs.length === 0 && <p class="nothing">{t("jobs.none")}</p>}
    </main>
  );
}

function ended(job: Job): boolean {
  return job.state === "done" || job.state === "failed" || job.state === "cancelled";
}

/** One job, kept up to date by the server's events while it runs. */
function Progress({ job: first, onEnd }: { job: Job; onEnd: () => void }) {
  const [job, setJob] = useState(first);
  const stopping = useSending();
  useEffect(() => {
    if (ended(first)) return undefined;
    const events = new EventSource(`/api/jobs/${encodeURIComponent(first.id)}/events`);
    events.onmessage = (event: MessageEvent<string>) => {
      const now = JSON.parse(event.data) as Job;
      setJob(now);
      if (ended(now)) {
        events.close();
        onEnd();
      }
    };
    return () => events.close();
  }, [first.id]);
  const label = t(`job.${job.kind}`, { index: job.index });
  return (
    <li class="panel">
      <h2 class="name">{label}</h2>
      {job.source && <p class="name">{job.source}</p>}
      <p>
        <span class={`mark ${job.state}`}>{t(`state.${job.state}`)}</span>{" "}
        {job.total !== null && t("job.count", { n: job.total, done: job.done })}
      </p>
      {!ended(job) && (
        <progress aria-label={label} {...(job.total === null ? {} : { max: job.total, value: job.done })} />
      )}
      {job.message && <p lang="en">{job.message}</p>}
      {job.kind === "add" && ended(job) && (
        <Facts
          rows={[
            [t("job.added"), <a href={address(job.index)}>{String(job.added)}</a>],
            [t("job.failed"), String(job.failed)],
          ]}
        />
      )}
      {job.kind === "groups" && job.state === "done" && (
        <a href={address(job.index, "groups")}>{t("job.groups.see")}</a>
      )}
      {!ended(job) && (
        <button
          type="button"
          disabled={stopping.busy}
          onClick={() => stopping.send(cancelJob(job.id), () => undefined)}
        >
          {t("job.cancel")}
        </button>
      )}
      {job.failures.length > 0 && (
        <details>
          <summary>{t("job.failures", { n: job.failed })}</summary>
          <table>
            <thead>
              <tr>
                <th>{t("job.name")}</th>
                <th>{t("job.reason")}</th>
              </tr>
            </thead>
            <tbody>
              {job.failures.map(({ name, reason }) => (
                <tr>
                  <td class="name">{name}</td>
                  <td lang="en">{reason}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </details>
      )}
    </li>
  );
}
