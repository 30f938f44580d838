// What the buttons and forms of the page do, and what the person at it has chosen.

import { browse, enter, leave } from "./browse.js";
import { Daemon } from "./daemon.js";
import { look, noLosses } from "./losses.js";
import { fromBytes, readResult, toBytes } from "./stream.js";
import { count } from "./text.js";

export const daemon = new Daemon();

/** What the person at the page has chosen: an open dialog, how much of the tables is shown; what was found, what went wrong. */
export const ui = { dialog: null, limits: { roots: 10, entries: 10, losses: 10 }, losses: noLosses, notices: [], pending: new Set() };

const nameOf = path => daemon.roots.find(r => r.path === path)?.Name ?? path;

// What the buttons and forms do, by their data-action; each gets the data-* of what was clicked and the fields of the form.
// What an action answers with is told to those who can't see the page change.
export const actions = {
    more: ({ table }) => { ui.limits[table] = Infinity },
    close: () => {
        end(ui.dialog);
        ui.dialog = null;
    },
    dismiss: ({ notice }) => { ui.notices = ui.notices.filter(n => String(n.id) !== notice) },
    connect: () => daemon.connect(),
    start: async () => {
        await cockpit.spawn(["systemctl", "start", "impermanenced.service"], { superuser: "try", err: "message" });
        daemon.connect();
    },
    reload: async () => {
        await daemon.call("Reload", "t", [0]);
        return "The configuration was read again";
    },
    root: ({ path }) => { ui.dialog = { kind: "root", path } },
    delete: ({ path }) => { ui.dialog = { kind: "delete", path } },
    boot: ({ path }) => { ui.dialog = { kind: "boot", path } },
    snapshot: async (_data, fields) => {
        if (!fields) {
            ui.dialog = { kind: "snapshot" };
            return;
        }
        await finish("CreateSnapshot", "sa{sv}t", [fields.get("label"), {}, 0]);
    },
    plan: async () => {
        const asked = ui.dialog = { kind: "plan", plan: null };
        asked.plan = await planPrune();
    },
    prune: async () => {
        const asked = ui.dialog, { plan } = asked, removed = items => JSON.stringify(items.filter(i => i.remove).map(i => i.path));
        asked.plan = await planPrune();
        if (removed(asked.plan) !== removed(plan))
            throw new Error("What retention keeps has changed meanwhile. This is what it does not keep now.");
        await finish("Prune", "a{sv}t", [{}, 0]);
    },
    pin: async ({ path, pinned }) => {
        await daemon.call("SetPinned", "ba{sv}t", [pinned === "true", {}, 0], path, "Root");
        return `${nameOf(path)} is ${pinned === "true" ? "pinned" : "no longer pinned"}`;
    },
    label: async ({ path }, fields) => {
        await daemon.call("SetLabel", "sa{sv}t", [fields.get("label"), {}, 0], path, "Root");
        return `The label of ${nameOf(path)} is saved`;
    },
    "delete-confirmed": async ({ path }) => {
        await finish("Delete", "a{sv}t", [{}, 0], path, "Root");
    },
    next: async ({ value }) => {
        await finish("SetNextBoot", "sa{sv}t", [value, {}, 0]);
        return "What the next boot does is chosen";
    },
    apply: async ({ path }) => {
        await daemon.call("ApplyPersistence", "aoa{sv}t", [path ? [path] : [], {}, 0]);
    },
    look: async () => {
        await look(daemon, found => {
            ui.losses = found;
            daemon.changed();
        });
        return "What the next boot will lose is known";
    },
    keep: async ({ bytes }, fields) => {
        if (!fields) {
            ui.dialog = { kind: "keep", bytes };
            return;
        }
        const { bytes: found } = ui.dialog, path = fields.get("keep"); // a field can't have all that a name can
        const same = found && path === fromBytes(found).replace(/[\r\n]/g, "");
        await finish("AddPersistence", "aya{sv}t", [same ? found : toBytes(path), {}, 0]);
    },
    forget: ({ entry }) => { ui.dialog = { kind: "forget", entry } },
    "forget-confirmed": async ({ entry }) => {
        await finish("Remove", "a{sv}t", [{}, 0], entry, "Entry");
    },
    restore: async ({ path }, fields) => {
        if (!fields) {
            ui.dialog = { kind: "restore", path };
            return;
        }
        return restore(ui.dialog, fields.get("paths").split("\n").map(line => line.trim()).filter(Boolean));
    },
    browse: async ({ path }) => {
        const asked = ui.dialog, found = await browse(daemon, path);
        if (ui.dialog === asked)
            ui.dialog = found;
        else
            end(found);
    },
    enter: async ({ directory }) => {
        const asked = ui.dialog;
        Object.assign(asked, await enter(asked.mounted, directory));
        return `${count(asked.items.length, "item")} in ${directory}`;
    },
    "restore-one": ({ file }) => {
        const { path } = ui.dialog;
        end(ui.dialog);
        return restore(ui.dialog = { kind: "restore", path }, [file]);
    },
    cancel: async ({ path }) => {
        await daemon.call("Cancel", "a{sv}t", [{}, 0], path, "Job");
        return "It ends as soon as it can";
    },
};

/** Calls what an open dialog asked for, and closes it, unless somebody has closed it meanwhile. */
async function finish(...call) {
    const asked = ui.dialog;
    await daemon.call(...call);
    if (ui.dialog === asked)
        ui.dialog = null;
}

async function planPrune() {
    const [items] = await daemon.call("PlanPrune", "a{sv}t", [{}, 0]);
    return items.map(([path, action, why]) => ({ path, remove: action === "remove", name: why.name.v, reasons: why.reasons.v }));
}

/** Has files brought back; the dialog lists what became of them, also when that is not of all. */
async function restore(asked, paths) {
    const results = [];
    Object.assign(asked, { running: true, paths });
    try {
        await readResult(daemon, await daemon.call("Restore", "oaaya{sv}t", [asked.path, paths.map(toBytes), {}, 0]), line => results.push(line));
    } finally {
        asked.running = false;
        asked.results = results.length > 0 && results;
    }
    return ui.dialog === asked && "What was restored is listed";
}

/** Ends what a dialog has begun: an old root that is looked at is let go. */
function end(dialog) {
    if (dialog?.kind === "browse")
        leave(daemon, dialog.path);
}
