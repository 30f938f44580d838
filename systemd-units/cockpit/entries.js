// What is kept on persistent volumes, and whether it is in its place.

import { h } from "./dom.js";
import { badge, button, card, table } from "./widgets.js";

const states = {
    "in-place": ["in place", "green"],
    "missing": ["not in place", "yellow"],
    "next-boot": ["at the next boot", "blue"],
    "drifted": ["owner or mode differ", "yellow"],
    "conflict": ["something else is in its place", "red"],
    "failed": ["failed", "red"],
};

/** Where what was added at run time is recorded; the others stand in files that a person writes. */
const recorded = /\/\.impermanence\/entries\.toml(:\d+)?$/;

function row(entry) {
    const [text, color] = states[entry.State] ?? [entry.State, "gray"];
    const message = entry.LastError?.[1];
    return {
        key: entry.path,
        cells: [
            h("span", { class: "name" }, entry.Target),
            [
                badge(text, color),
                message && h("p", { class: "message" }, message),
                entry.State === "conflict" && h("p", { class: "message" }, "Move away what is there, then put the entry in place."),
            ],
            entry.Method === "auto" ? entry.Kind : `${entry.Kind}, ${entry.Method}`,
            h("span", { class: "name" }, entry.Source),
            h("div", { class: "actions" },
                entry.State !== "in-place" &&
                    button("apply", "Put in place", { look: "link", data: { path: entry.path }, label: `Put in place: ${entry.Target}` }),
                recorded.test(entry.Origin) &&
                    button("forget", "Forget…", { look: "link", data: { entry: entry.path }, label: `Forget… ${entry.Target}` })),
        ],
    };
}

export function entries(daemon, limit) {
    const all = daemon.entries, missing = all.filter(e => e.State !== "in-place").length;
    const actions = [
        button("keep", "Keep something more…"),
        missing > 1 && button("apply", `Put all ${missing} in place`, { data: { path: "" } }),
    ];
    return card("entries", "Entries", { note: all.length > 0 && String(all.length), actions },
        all.length > 0
            ? table("entries", "What persists, with what is not in place first", ["Where it is seen", "State", "Kind", "Where it is kept", ""], all, row, limit)
            : h("p", { class: "empty" }, "None is configured, so nothing persists. ",
                h("code", null, "impermanence.toml(5)"), " tells how, in /etc/impermanence/impermanence.toml."));
}
