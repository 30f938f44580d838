// The pieces that the views are made of.

import { h } from "./dom.js";

/**
 * A button; what it does is looked up by its action, and data tells to what. With the same id, which is made of its data where
 * none is given, it is the same button after a change of the page, and keeps the focus, as it does while it is busy.
 */
export function button(action, text, { look = "secondary", data = {}, id = Object.values(data).join("-"), label, disabled, busy, title, autofocus } = {}) {
    const attributes = { type: "button", class: `button ${look}`, "data-action": action, "aria-label": label, disabled, "aria-disabled": busy && "true", title, autofocus };
    for (const [key, value] of Object.entries(data))
        attributes[`data-${key}`] = value;
    attributes.id = `do-${action}-${id}`.replace(/[^A-Za-z0-9_-]/g, "_");
    return h("button", attributes, text);
}

/** A short word on a ground of its color: "green", "blue", "yellow", "red" or "gray". */
export function badge(text, color = "gray", title) {
    return h("span", { class: `badge ${color}`, title }, text);
}

/** A section of the page with a heading. */
export function card(id, heading, { note, actions }, ...content) {
    return h("section", { class: "card", "aria-labelledby": id, "data-key": id, tabindex: -1 },
        h("header", null, h("h2", { id }, heading, note && h("span", { class: "note" }, note)), actions && h("div", { class: "actions" }, actions)),
        ...content);
}

/** What is wrong or worth knowing: "danger", "warning" or "info", with what to do about it. */
export function alert(kind, text, { key, action, type, role } = {}) {
    const words = { danger: "Wrong:", warning: "Warning:", info: "Note:" };
    return h("div", { class: `alert ${kind}`, "data-key": key, role },
        h("p", null, h("span", { class: "visually-hidden" }, words[kind] + " "), text),
        type && h("p", null, "Type ", h("code", null, type)),
        action && h("div", { class: "actions" }, action));
}

/** A list of terms and what they are; a row that is false is left out. */
export function facts(...rows) {
    return h("dl", { class: "facts" }, rows.filter(Boolean).map(([term, ...values]) => h("div", null, h("dt", null, term), h("dd", null, ...values))));
}

/**
 * A table of items, whose rows are cards on a small screen; `row` makes { key, cells } of an item. Of more than the limit the first
 * are shown, with a button for the rest.
 */
export function table(id, caption, headings, items, row, limit) {
    const shown = items.slice(0, limit).map(row);
    return [
        // The roles are those that the elements have anyway, until the style sheet shows them as blocks.
        h("table", { role: "table" },
            h("caption", { class: "visually-hidden" }, caption),
            h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, headings.map(heading =>
                h("th", { role: "columnheader", scope: "col" }, heading || h("span", { class: "visually-hidden" }, "Actions"))))),
            h("tbody", { role: "rowgroup" }, shown.map(row => h("tr", { role: "row", "data-key": row.key }, row.cells.map((content, i) =>
                i === 0
                    ? h("th", { role: "rowheader", scope: "row" }, content)
                    : h("td", { role: "cell", "data-heading": headings[i] }, !blank(content) && h("div", null, content))))))),
        shown.length < items.length && button("more", `Show all ${items.length}`, { look: "link", data: { table: id } }),
    ];
}

const blank = content => [content].flat(Infinity).every(part => part === "" || part === false || part === null || part === undefined);
