// What the daemon knows, as org.impermanence1(5) describes it, kept current by its signals.

import { fromBytes } from "./stream.js";

const name = "org.impermanence1";
export const top = "/org/impermanence1";
const objectManager = "org.freedesktop.DBus.ObjectManager";
const properties = "org.freedesktop.DBus.Properties";

/**
 * The daemon and its objects. `state` is "connecting", "ready", "absent" (nobody owns its name) or "closed" (the bus is out of
 * reach, `problem` says why). A "change" event comes after anything has changed, a "job" event when a job has ended.
 */
export class Daemon extends EventTarget {
    constructor() {
        super();
        this.heard = 0; // signals
        this.answered = Promise.resolve(); // when all calls so far are
        this.manager = {};
        this.unlisted = null; // why there is no list of roots
        this.objects = new Map(); // path → { interface: { property: value } }; while nobody can be asked, as it was
        this.connect();
    }

    /** Connects, for the first time or again; what was asked before is still answered. The first call starts the daemon when the bus knows how. */
    connect() {
        this.watch();
        this.show("connecting");
        const before = this.client;
        this.answered.then(() => before?.close());
        const client = this.client = cockpit.dbus(name, { bus: "system", superuser: "try" });
        client.addEventListener("close", (_event, ended) => {
            if (client === this.client)
                this.show(ended.problem === "not-found" ? "absent" : "closed", ended.message);
        });
        client.subscribe({ path_namespace: top }, (path, face, signal, args) => this.signal(path, face, signal, args));
        this.load();
    }

    /** Has the bus tell when the daemon comes and goes: without an owner of its name, a client for it is closed; one that waits for it stays. */
    watch() {
        if (this.bus)
            return;
        const bus = this.bus = cockpit.dbus("org.freedesktop.DBus", { bus: "system" });
        bus.addEventListener("close", (_event, ended) => {
            this.bus = null;
            this.show("closed", ended.message || ended.problem);
        });
        bus.subscribe({ interface: "org.freedesktop.DBus", member: "NameOwnerChanged", arg0: name }, (_path, _face, _signal, [, , owner]) =>
            owner ? this.state !== "connecting" && this.connect() : this.show("absent"));
    }

    show(state, problem = null) {
        this.state = state;
        this.problem = problem;
        this.changed();
    }

    changed() {
        this.sorted = {};
        this.dispatchEvent(new Event("change"));
    }

    /** Asks for everything. What was heard meanwhile may be newer than an answer, or older: then it is asked for once more. */
    async load() {
        const client = this.client, heard = this.heard;
        try {
            const [[manager], [objects], unlisted] = await Promise.all([
                client.call(top, properties, "GetAll", [name + ".Manager"]),
                client.call(top, objectManager, "GetManagedObjects", []),
                client.call(top, name + ".Manager", "ListRoots", [{ pinned: { t: "b", v: true } }, 0]).then(() => null, error => error.message),
            ]);
            if (client !== this.client)
                return;
            this.unlisted = unlisted;
            this.manager = plain(manager);
            this.objects = new Map(Object.entries(plain(objects)));
            this.show("ready");
            if (heard !== this.heard)
                this.refresh();
        } catch (error) {
            if (client === this.client && this.state === "connecting")
                this.show("absent", error.message); // else the client was closed, which has told why
        }
    }

    signal(path, face, signal, args) {
        this.heard++;
        switch (`${face}.${signal}`) {
        case `${objectManager}.InterfacesAdded`:
            this.objects.set(args[0], { ...this.objects.get(args[0]), ...plain(args[1]) });
            break;
        case `${objectManager}.InterfacesRemoved`:
            this.objects.delete(args[0]);
            break;
        case `${properties}.PropertiesChanged`:
            this.update(path, args[0], plain(args[1]), args[2]);
            break;
        case `${name}.Manager.JobRemoved`:
            this.dispatchEvent(new CustomEvent("job", {
                detail: { path: args[0], operation: args[1], result: args[2], error: args[4] },
            }));
            return;
        default:
            return;
        }
        this.changed();
    }

    update(path, face, values, invalidated) {
        const object = path === top ? this.manager : this.objects.get(path)?.[face];
        if (!object)
            return;
        Object.assign(object, values);
        if (invalidated.length > 0)
            this.refresh();
    }

    /** Asks for everything again, soon: what is told without its value, as the sizes of roots, comes for many objects at a time. */
    refresh() {
        this.refreshing ??= setTimeout(() => {
            this.refreshing = undefined;
            if (this.state === "ready")
                this.load();
        }, 2000);
    }

    /** The objects of one kind: their properties, and their path as `path`, in no order. */
    all(kind) {
        const face = `${name}.${kind}`;
        return [...this.objects].filter(([, faces]) => faces[face]).map(([path, faces]) => ({ path, ...faces[face] }));
    }

    get roots() {
        return this.sorted.roots ??= this.all("Root").sort((a, b) => b.RolledOverUSec - a.RolledOverUSec || b.SubvolumeId - a.SubvolumeId);
    }

    get entries() {
        return this.sorted.entries ??= this.all("Entry").sort((a, b) => (a.State === "in-place") - (b.State === "in-place") || (a.Target < b.Target ? -1 : 1));
    }

    /** The jobs that have not ended, oldest first. */
    get jobs() {
        return this.all("Job").filter(j => j.State !== "done").sort((a, b) => a.StartUSec - b.StartUSec);
    }

    /**
     * Calls a method of Manager, or of an object of another kind; polkit may ask the user. Answers with what it returns. A daemon
     * that does not run is started, when the bus knows how.
     */
    call(method, signature, args, path = top, kind = "Manager") {
        if (this.state === "absent" || this.state === "closed")
            this.connect();
        const answer = this.client.call(path, `${name}.${kind}`, method, args, { type: signature, flags: "i" });
        this.answered = Promise.allSettled([this.answered, answer]);
        return answer;
    }
}

/** A value of D-Bus without its types. A path, which is bytes that end with a zero, becomes text. */
function plain(value) {
    if (Array.isArray(value))
        return value.map(plain);
    if (value === null || typeof value !== "object")
        return value;
    if (typeof value.t === "string" && "v" in value)
        return value.t === "ay" ? fromBytes(value.v) : plain(value.v);
    return Object.fromEntries(Object.entries(value).map(([key, v]) => [key, plain(v)]));
}
