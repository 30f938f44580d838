// What happened at this boot, what the next one does, and what is wrong.

import { h } from "./dom.js";
import { ago, base, count, moment, size, span } from "./text.js";
import { alert, badge, button, card, facts } from "./widgets.js";

/** The words for what became of the root at this boot, with their color. */
function outcome(boot) {
    const because = boot.reason ? `: ${boot.reason}` : "";
    const origin = boot.source ? `a copy of ${base(boot.source)}` : "began empty";
    switch (boot.outcome) {
    case "fresh": return [`Fresh root, ${origin}`, "green"];
    case "restored": return [`Restored root, ${origin}`, "green"];
    case "kept": return [`Root kept${because}`, "yellow"];
    case "skipped": return [`Rollover skipped${because}`, "yellow"];
    case "failed": return ["Former root: the rollover failed", "red"];
    default: return ["Not known: the rollover did not run", "red"];
    }
}

function thisBoot(boot) {
    const [text, color] = outcome(boot);
    return [
        badge(text, color),
        boot.rolledOverUSec && h("p", null, `Rolled over ${moment(boot.rolledOverUSec)} (${ago(boot.rolledOverUSec)})`,
            boot.durationUSec && `, in ${span(boot.durationUSec)}`),
        boot.oldRoot && h("p", null, "The former root is ", h("span", { class: "name" }, base(boot.oldRoot))),
    ];
}

/** What the next boot does: a word, or the root that it takes a copy of. */
function nextBoot(daemon) {
    const next = daemon.manager.NextBoot;
    const undo = button("next", "Fresh root instead", { look: "link", data: { value: "fresh" } });
    switch (next) {
    case "fresh":
        return ["Fresh root", button("next", "Keep this root once", { look: "link", data: { value: "keep" } })];
    case "":
        return ["Not known"];
    case "keep":
        return [badge("This root is kept, once", "yellow"), undo];
    default: {
        const root = daemon.roots.find(r => String(r.SubvolumeId) === next);
        return [badge(`A copy of ${root ? root.Name : next}, once`, "yellow"), undo];
    }
    }
}

function entries(daemon) {
    const all = daemon.entries;
    if (all.length === 0)
        return badge("None configured: nothing persists", "yellow");
    const [there, next] = ["in-place", "next-boot"].map(state => all.filter(e => e.State === state).length);
    const missing = all.length - there - next;
    return badge(`${there} in place${next ? `, ${next} at the next boot` : ""}${missing ? `, ${missing} not` : ""}`, missing ? "red" : "green");
}

function oldRoots(daemon) {
    const roots = daemon.roots;
    if (roots.length === 0 && daemon.unlisted)
        return badge("Not known", "red");
    const [old, snapshots] = ["old", "snapshot"].map(kind => roots.filter(r => r.Kind === kind).length);
    const pinned = roots.filter(r => r.Pinned).length;
    const bytes = roots.reduce((sum, r) => sum + (r.ExclusiveBytes ?? 0), 0);
    return [
        String(old),
        snapshots > 0 && `, ${count(snapshots, "snapshot")}`,
        pinned > 0 && `, ${pinned} pinned`,
        bytes > 0 && `, about ${size(bytes)} that only they hold`,
    ];
}

export function overview(daemon) {
    const last = daemon.manager.LastPruneUSec;
    return card("overview", "Overview", {},
        facts(
            ["This boot", thisBoot(daemon.manager.LastRollover)],
            ["Next boot", nextBoot(daemon)],
            ["Entries", entries(daemon)],
            ["Old roots", oldRoots(daemon)],
            last > 0 && ["Last prune", `${moment(last)} (${ago(last)})`]));
}

/** What is wrong, the most urgent first, each with what to do about it. */
export function problems(daemon) {
    const boot = daemon.manager.LastRollover, look = "journalctl -b | grep impermanence";
    const found = daemon.manager.ConfigurationErrors.map(text =>
        alert("danger", `Configuration: ${text}`, { action: button("reload", "Read it again", { data: { from: text } }) }));
    if (daemon.manager.ReloadNeeded)
        found.push(alert("warning", "The configuration has changed since it was read.", { action: button("reload", "Read it again") }));
    if (boot.outcome === "failed")
        found.push(alert("danger", `This boot has no fresh root: ${boot.error}`, { type: look }));
    else if (!boot.outcome)
        found.push(alert("danger", "Early boot left no record: it did not run, or is not a part of the initrd.", { type: look }));
    else if (boot.error)
        found.push(alert("warning", `At this boot: ${boot.error}`, { type: look }));
    for (const failure of boot.failures ?? []) {
        if (!failure.startsWith(`${boot.mountPoint}: `))
            found.push(alert("danger", `No fresh root at ${failure}`, { type: look }));
    }
    for (const root of daemon.roots.filter(r => r.Deleting))
        found.push(alert("warning", `The deletion of ${root.Name} has not finished.`, { action: button("plan", "Prune…", { data: { from: root.Name } }) }));
    return h("div", { class: "alerts", "data-key": "problems" }, found);
}
