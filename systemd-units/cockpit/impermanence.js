// The page: what is shown in which state, and how it is told what was done.

import { actions, daemon, ui } from "./actions.js";
import { dialog } from "./dialogs.js";
import { h, keepingFocus, morph } from "./dom.js";
import { entries } from "./entries.js";
import { jobs, operation } from "./jobs.js";
import { losses } from "./losses.js";
import { overview, problems } from "./overview.js";
import { roots } from "./roots.js";
import { alert, button } from "./widgets.js";

const notAllowed = [
    "org.freedesktop.DBus.Error.AccessDenied",
    "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired",
];

const canceled = "org.impermanence1.Error.Canceled";

const notThere = ["org.freedesktop.DBus.Error.ServiceUnknown", "org.freedesktop.DBus.Error.NameHasNoOwner", "org.freedesktop.DBus.Error.NoReply"];

/** What went wrong, and what to do about it. */
function explain(error) {
    if (notAllowed.includes(error.name) || error.problem === "access-denied")
        return "You are not allowed to do that. Turn on administrative access at the top of Cockpit, and try again.";
    if (notThere.includes(error.name) || error.problem === "not-found" || error.problem === "disconnected")
        return "The daemon does not run, or ended before it answered. Start it, and see what was done.";
    return cockpit.message(error);
}

/** Does what was asked for, once until it has answered. What goes wrong is shown where it was asked. */
async function act(element, fields) {
    const key = JSON.stringify(element.dataset);
    if (ui.pending.has(key))
        return;
    ui.pending.add(key);
    let asked, told;
    try {
        const doing = actions[element.dataset.action](element.dataset, fields);
        asked = ui.dialog; // which may just have been opened
        if (asked)
            Object.assign(asked, { error: null, busy: true });
        render();
        told = await doing;
    } catch (error) {
        if (error.name === canceled)
            told = null; // as the end of the job has told
        else if (asked && asked === ui.dialog)
            asked.error = explain(error);
        else
            notice(explain(error));
    } finally {
        ui.pending.delete(key);
        if (asked)
            asked.busy = false;
    }
    render();
    untold.splice(0).forEach(announce);
    announce(told);
}

let notices = 0;

function notice(text) {
    ui.notices = [...ui.notices.filter(n => n.text !== text), { id: ++notices, text }];
    announce(text);
}

const untold = [];

/**
 * Tells those who can't see the page change, in the dialog while one covers the page, but for one that may be about to close. What was
 * told just before is still to be heard.
 */
function announce(text) {
    if (ui.dialog?.busy) {
        untold.push(text);
        return;
    }
    const place = document.querySelector("dialog[open] [role=status]") ?? document.getElementById("announce");
    if (text)
        place.append(h("p", null, text));
    while (place.childElementCount > 5)
        place.firstChild.remove();
}

/** What is shown instead of the page while there is no daemon to ask. */
function unavailable() {
    const empty = (heading, ...content) => h("section", { class: "card empty-state", "data-key": daemon.state }, h("h2", null, heading), ...content);
    const again = button("connect", "Try again");
    switch (daemon.state) {
    case "connecting":
        return empty("Asking the daemon…", h("progress", { "aria-label": "Asking the daemon" }));
    case "absent":
        return empty("The daemon does not run",
            daemon.problem && h("p", null, daemon.problem),
            h("p", null, "What is wrong with it: ", h("code", null, "systemctl status impermanenced.service")),
            h("div", { class: "actions" }, button("start", "Start it", { look: "primary" }), again));
    default:
        return empty("The system bus is out of reach", daemon.problem && h("p", null, daemon.problem), h("div", { class: "actions" }, again));
    }
}

function page() {
    const told = ui.notices.map(({ id, text }) =>
        alert("danger", text, { key: `notice-${id}`, action: button("dismiss", "Dismiss", { look: "link", data: { notice: id } }) }));
    const content = daemon.state === "ready"
        ? [problems(daemon), overview(daemon), jobs(daemon), losses(ui.losses, ui.limits.losses), roots(daemon, ui.limits.roots), entries(daemon, ui.limits.entries)]
        : [unavailable()];
    return [
        h("header", { class: "masthead" }, h("h1", null, "Impermanence"), daemon.manager.Version && h("span", { class: "note" }, daemon.manager.Version)),
        h("main", null, h("div", { class: "alerts", "data-key": "notices" }, told), content.filter(Boolean)),
    ];
}

function render() {
    keepingFocus(draw);
}

function draw() {
    const place = document.getElementById("dialog");
    const wanted = ui.dialog && dialog(ui.dialog, daemon);
    const open = place.querySelector("dialog");
    if (open && open.id !== wanted?.id)
        open.close(); // the focus goes back to where it was
    if (ui.dialog && !wanted && !ui.dialog.busy)
        notice(`${ui.dialog.name} is gone.`);
    if (!wanted)
        ui.dialog = null;
    morph(document.getElementById("page"), page());
    morph(place, wanted ? [wanted] : []);
    const shown = place.querySelector("dialog");
    if (shown && !shown.open)
        shown.showModal();
}

let asked = false;

/** Has the page drawn once, however much has changed until then. */
function changed() {
    if (!asked)
        requestAnimationFrame(() => {
            asked = false;
            render();
        });
    asked = true;
}

function listen() {
    document.addEventListener("click", event => {
        const element = event.target.closest("button[data-action]");
        if (element && event.detail < 2) // a double click is one: what is there after the first is something else
            act(element);
    });
    document.addEventListener("submit", event => {
        event.preventDefault();
        act(event.target, new FormData(event.target));
    });
    document.addEventListener("cancel", event => { // Escape
        event.preventDefault();
        actions.close();
        render();
    }, true);
    daemon.addEventListener("change", changed);
    daemon.addEventListener("job", ({ detail: { operation: name, result, error } }) => {
        if (result === "failed" || result === "partial")
            notice(`${operation(name)}: ${result === "partial" ? "partly done: " : ""}${error}`);
        else
            announce(`${operation(name)}: ${result}`);
        changed();
    });
    // With administrative access the daemon is asked as root, without it as the user.
    // cockpit.permission() tells of that too, but loads the page anew.
    const superuser = cockpit.dbus(null, { bus: "internal" }).proxy("cockpit.Superuser", "/superuser");
    let access;
    superuser.addEventListener("changed", () => {
        if (access !== undefined && access !== superuser.Current)
            daemon.connect();
        access = superuser.Current;
    });
    setInterval(changed, 60_000); // for how long ago things were
}

/** Follows the style that was chosen in Cockpit's menu: "light", "dark", or as the browser asks. */
function follow() {
    const system = matchMedia("(prefers-color-scheme: dark)");
    const apply = chosen => {
        const style = chosen ?? localStorage.getItem("shell:style") ?? "auto";
        document.documentElement.classList.toggle("dark", style === "dark" || (style === "auto" && system.matches));
    };
    window.addEventListener("storage", event => event.key === "shell:style" && apply());
    window.addEventListener("cockpit-style", event => apply(event.detail?.style));
    system.addEventListener("change", () => apply());
    apply();
}

follow();
listen();
render();
