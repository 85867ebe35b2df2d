"""Same, different or unsure: what a reader says of each hit of `report.html`, kept by the browser, saved as a file."""

from __future__ import annotations

import json
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from index.annotations import Judgement

__all__ = ["STYLE", "decidable", "saving"]

STYLE = """
.decide { display: flex; flex-wrap: wrap; gap: 6px; margin: 0 0 14px; align-items: baseline; }
.decide::before { content: "your verdict"; font-style: italic; font-size: 15px; color: var(--faint);
  margin-right: 4px; }
.decide button, .saving button { font: inherit; font-size: 15px; color: var(--deep); background: none; cursor: pointer;
  border: 1px solid currentColor; border-radius: 2px; padding: 1px .7em 2px; }
.decide button:hover, .saving button:hover { background: var(--paper); }
.decide button[aria-pressed=true] { color: #fff; background: var(--deep); border-color: var(--deep); }
.decide button[value=different][aria-pressed=true] { background: var(--rubric); border-color: var(--rubric); }
.decide button[value=unsure][aria-pressed=true] { background: var(--doubt); border-color: var(--doubt); }
.saving { position: sticky; bottom: 0; background: var(--card); border-top: 1px solid var(--ink); padding: 10px 28px;
  display: flex; flex-wrap: wrap; gap: 6px 20px; align-items: baseline; justify-content: center; }
.saving code { font-size: 14px; } .saving[hidden] { display: none; }
@media print { .decide, .saving { display: none; } }
"""

_SCRIPT = r"""
(() => {
  "use strict";
  const verdicts = ["same", "different", "unsure"];
  const hits = [...document.querySelectorAll("[data-pair]")];
  const bar = document.querySelector(".saving");
  const kept = (() => {
    try { localStorage.setItem("calque", ""); localStorage.removeItem("calque"); return localStorage; }
    catch { return null; }
  })();
  const decided = new Map();
  const key = (hit) => "calque " + hit.dataset.pair;

  function show(hit) {
    const decision = decided.get(hit);
    for (const button of hit.querySelectorAll(".decide button"))
      button.setAttribute("aria-pressed", String(decision?.verdict === button.value));
    bar.hidden = decided.size === 0;
    bar.querySelector("output").value = `${decided.size} of ${hits.length} judged`;
  }

  function decide(hit, verdict) {
    const time = new Date().toISOString().replace(/\.\d+/, "");
    if (decided.get(hit)?.verdict === verdict) decided.delete(hit);
    else decided.set(hit, { ...JSON.parse(hit.dataset.pair), verdict, time });
    show(hit);
    if (decided.has(hit)) kept?.setItem(key(hit), JSON.stringify(decided.get(hit)));
    else kept?.removeItem(key(hit));
  }

  for (const hit of hits) {
    const row = document.createElement("div");
    row.className = "decide";
    row.setAttribute("role", "group");
    row.setAttribute("aria-label", "Is it the same picture?");
    for (const verdict of verdicts) {
      const button = document.createElement("button");
      button.type = "button";
      button.value = button.textContent = verdict;
      button.addEventListener("click", () => decide(hit, verdict));
      row.append(button);
    }
    hit.querySelector("h3").after(row);
    const before = kept?.getItem(key(hit));
    if (before) decided.set(hit, JSON.parse(before));
    show(hit);
  }

  bar.querySelector("button").addEventListener("click", () => {
    // Plain ASCII: a file name that is no text holds halves of surrogate pairs, which no encoding of text has.
    const line = (value) => JSON.stringify(value).replace(/[\u007f-\uffff]/g,
      (c) => "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0"));
    const lines = hits.filter((hit) => decided.has(hit)).map((hit) => line(decided.get(hit)) + "\n");
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob(lines, { type: "application/jsonl" }));
    link.download = "decisions.jsonl";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
})();
"""


def decidable(pair: Judgement) -> str:
    """Return the attribute that lets a reader judge the pair of pictures of `pair` on the element that has it.

    The element must have an ``h3``. Without a script nothing is offered.
    """
    from index.judgements import judgement_as_dict

    wanted = ("image_a", "page_a", "region_a", "image_b", "page_b", "region_b")
    sides = {key: value for key, value in judgement_as_dict(pair).items() if key in wanted}
    return f' data-pair="{escape(json.dumps(sides))}"'


def saving() -> str:
    """Return the bar that saves what was judged, and the script, for the end of the page."""
    return (
        '<div class="saving" hidden><output></output><button type="button">Save decisions</button>'
        "<span>then <code>calque judge INDEX --import decisions.jsonl</code></span></div>"
        f"<script>{_SCRIPT}</script>\n"
    )
