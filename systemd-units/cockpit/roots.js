// The old roots and snapshots.

import { h } from "./dom.js";
import { ago, moment, size } from "./text.js";
import { alert, badge, button, card, facts, table } from "./widgets.js";

const reasons = {
    "booted": "booted",
    "default": "default subvolume",
    "entry": "an entry is taken from it",
    "in-use": "in use",
    "newest": "newest",
    "next": "next boot",
    "persistent": "holds a persistent volume",
    "template": "template",
};

/** Why a root is not deleted, as badges. */
function protection(root) {
    return [
        root.Pinned && badge("pinned", "blue"),
        root.ProtectReasons.filter(r => r !== "pinned").map(r => badge(reasons[r] ?? r, "gray", "Protected: it cannot be deleted")),
        root.Deleting && badge("being deleted", "red"),
    ];
}

function pin(root, look, id) {
    const text = root.Pinned ? "Unpin" : "Pin";
    return button("pin", text, { look, id, data: { path: root.path, pinned: String(!root.Pinned) }, label: `${text} ${root.Name}` });
}

function row(root, shownSizes) {
    const data = { path: root.path };
    return {
        key: root.path,
        cells: [
            [h("span", { class: "name" }, root.Name), root.Label && h("span", { class: "label" }, root.Label)],
            { snapshot: "snapshot", discarded: "left behind" }[root.Kind] ?? "old root",
            h("time", { datetime: new Date(root.RolledOverUSec / 1000).toISOString(), title: moment(root.RolledOverUSec) }, ago(root.RolledOverUSec)),
            shownSizes && (root.ExclusiveBytes ? size(root.ExclusiveBytes) : ""),
            protection(root),
            h("div", { class: "actions" },
                pin(root, "link", root.path),
                button("root", "Details", { look: "link", data, label: `Details of ${root.Name}` })),
        ].filter(cell => cell !== false),
    };
}

export function roots(daemon, limit) {
    const all = daemon.roots, sizes = all.some(r => r.ExclusiveBytes > 0);
    const actions = [
        button("snapshot", "Take a snapshot…"),
        all.length > 0 && button("plan", "Prune…"),
    ];
    const headings = ["Name", "Kind", "Rolled over", sizes && "Only it holds", "Protected", ""].filter(heading => heading !== false);
    return card("roots", "Old roots and snapshots", { note: all.length > 0 && String(all.length), actions },
        all.length > 0
            ? table("roots", "Old roots and snapshots, the newest first", headings, all, r => row(r, sizes), limit)
            : daemon.unlisted
                ? alert("danger", `Old roots can't be listed: ${daemon.unlisted}`)
                : h("p", { class: "empty" }, "No old roots yet: the next boot leaves the first."));
}

/** What there is to know of one root, and to do with it. */
export function details(root) {
    const data = { path: root.path };
    const forbidden = root.ProtectReasons.length > 0, leftover = root.Kind === "discarded";
    return [
        facts(
            ["Kind", { snapshot: "Snapshot, taken on request", discarded: "Left behind by something interrupted" }[root.Kind] ?? "Old root"],
            [root.Kind === "snapshot" ? "Taken" : "Rolled over", `${moment(root.RolledOverUSec)} (${ago(root.RolledOverUSec)})`],
            ["Created", moment(root.CreatedUSec)],
            root.ExclusiveBytes > 0 && ["Only it holds", `about ${size(root.ExclusiveBytes)}`],
            ["Path", h("code", null, root.Path)],
            ["Subvolume", String(root.SubvolumeId), root.ReadOnly && ", read-only"],
            root.BootId && ["Boot", h("code", null, root.BootId)],
            root.HeldRoot && ["Inside of it", "Another root, moved there by accident, which would be deleted with it: ", h("code", null, root.HeldRoot)],
            (forbidden || root.Deleting) && ["Protected", protection(root)]),
        h("form", { class: "field", "data-action": "label", "data-path": root.path, id: "label-form" },
            h("label", { for: "label" }, "Label"),
            h("input", { id: "label", name: "label", value: root.Label, maxlength: 255, autocomplete: "off" }),
            h("button", { class: "button secondary", id: "do-label" }, "Save")),
        h("div", { class: "actions" },
            pin(root, "secondary", "details"),
            button("browse", "Browse…", { data }),
            button("restore", "Restore files…", { data, disabled: leftover }),
            button("boot", "Boot a copy of it once…", { data, disabled: leftover }),
            button("delete", "Delete…", { look: "danger", data, disabled: forbidden, title: forbidden ? "It is protected" : undefined })),
    ];
}
