// Looking into an old root, to find what is to come back.

import { h } from "./dom.js";
import { fromBytes } from "./stream.js";
import { size } from "./text.js";
import { button } from "./widgets.js";

/** Has an old root mounted for looking, and lists its top. */
export async function browse(daemon, path) {
    const [bytes] = await daemon.call("Browse", "a{sv}t", [{}, 0], path, "Root"), mounted = fromBytes(bytes);
    try {
        return { kind: "browse", path, mounted, ...await enter(mounted, "/") };
    } catch (error) {
        leave(daemon, path);
        throw error;
    }
}

/** Lets go an old root that was looked at. If it can't be, the daemon lets it go by itself. */
export function leave(daemon, path) {
    if (daemon.state === "ready")
        daemon.call("EndBrowse", "a{sv}t", [{}, 0], path, "Root").catch(() => {});
}

/** Lists a directory of a root that is mounted: directories first, then by name. */
export async function enter(mounted, directory) {
    const items = await list(mounted + directory);
    items.sort((a, b) => (b.type === "directory") - (a.type === "directory") || (a.path < b.path ? -1 : 1));
    return { directory, items };
}

/** Lists what is in a directory, as root when there is administrative access: nobody else may enter an old root. */
function list(path) {
    return new Promise((resolve, reject) => {
        const items = [];
        const channel = cockpit.channel({ payload: "fslist1", path, watch: false, superuser: "try" });
        channel.addEventListener("message", (_event, text) => {
            const item = JSON.parse(text);
            if (item.event === "present")
                items.push(item);
        });
        channel.addEventListener("close", (_event, ended) =>
            ended.problem ? reject(ended) : resolve(items));
    });
}

/** The directories that lead to one, each a button, from the top. */
function way(directory) {
    const names = directory.split("/").filter(Boolean);
    return h("nav", { "aria-label": "Directory" }, h("ol", { class: "way" }, ["/", ...names].map((name, i) =>
        h("li", null, i === names.length
            ? h("span", { class: "name", "aria-current": "location" }, name)
            : button("enter", name, { look: "link", data: { directory: "/" + names.slice(0, i).map(n => n + "/").join("") }, id: `way-${i}` })))));
}

/** The dialog. */
export function browsing({ directory, items }, root) {
    return {
        heading: root.Name,
        wide: true,
        body: [
            way(directory),
            items.length === 0 && h("p", { class: "empty" }, "Nothing is in this directory."),
            h("ul", { class: "plan files" }, items.map(({ path: name, type, size: bytes }) => h("li", { "data-key": name },
                type === "directory"
                    ? button("enter", `${name}/`, { look: "link", data: { directory: `${directory}${name}/` } })
                    : h("span", { class: "name" }, name),
                h("span", { class: "note" }, type === "file" && bytes !== undefined ? size(bytes) : ""),
                button("restore-one", "Restore", { look: "link", data: { file: directory + name }, label: `Restore ${directory}${name}` })))),
        ],
    };
}
