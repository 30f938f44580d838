// The page of an administrator: what it shows, what can be done on it, and that it follows what others do.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { Daemon, Page, frozen, impermanence } from "./page.mjs";

const daemon = new Daemon();
let page;

before(async () => { page = await Page.open() });
after(async () => {
    await daemon.stop();
    await page.close();
});

const listed = () => JSON.parse(impermanence("roots", "--json")).roots;
const root = name => listed().find(r => r.name === name);
const adopted = "2024-11-04_10:33:02", also = "2024-11-4_11:00:00";

test("without the daemon the page says so, and what to do", async () => {
    await page.page.getByRole("heading", { name: "The daemon does not run" }).waitFor();
    await page.sees("systemctl status impermanenced.service");
    await page.accessible();
    await page.pictures("absent");
});

test("it fills itself when the daemon comes", async () => {
    daemon.start();
    await page.page.getByRole("heading", { name: "Overview" }).waitFor();
    await page.sees("Fresh root, began empty");
    await page.sees("The former root is");
    await page.sees("3 in place, 1 not");
    await page.sees("/var/log is a file");
    await page.row(adopted).waitFor();
    await page.accessible();
});

test("a root is pinned with the keyboard, and the focus stays", async () => {
    await page.button(`Pin ${adopted}`).focus();
    await page.page.keyboard.press("Enter");
    await page.hears(`${adopted} is pinned`);
    await page.sees("pinned", page.row(adopted));
    assert.ok(root(adopted).pinned);
    assert.equal(await page.focused(), `Unpin ${adopted}`);
    await page.button(`Unpin ${adopted}`).click();
    await page.hears(`${adopted} is no longer pinned`);
    assert.ok(!root(adopted).pinned);
});

test("what others do is seen at once", async () => {
    await page.button(`Details of ${also}`).focus();
    impermanence("pin", also);
    await page.sees("pinned", page.row(also));
    assert.equal(await page.focused(), `Details of ${also}`);
    impermanence("unpin", also);
    await page.button(`Pin ${also}`).waitFor();
});

test("the details of a root: its label, and the way back by Escape", async () => {
    await page.button(`Details of ${adopted}`).click();
    await page.dialog.getByLabel("Label").fill("of the shell script <b>&");
    await page.page.keyboard.press("Enter");
    await page.hears(`The label of ${adopted} is saved`);
    assert.equal(root(adopted).label, "of the shell script <b>&");
    await page.accessible();
    await page.pictures("details");
    await page.page.keyboard.press("Escape");
    await page.gone(page.dialog);
    await page.sees("of the shell script <b>&", page.row(adopted));
    assert.equal(await page.focused(), `Details of ${adopted}`);
});

test("a protected root can't be deleted", async () => {
    const newest = listed().at(-1).name;
    await page.button(`Details of ${newest}`).click();
    assert.ok(await page.dialog.getByRole("button", { name: "Delete…" }).isDisabled());
    await page.button("Close").click();
    await page.gone(page.dialog);
});

test("what an interrupted job left behind is no old root, and nothing can be taken from it", async () => {
    const left = ".unfinished-1", rescan = () => execFileSync("busctl", [`--address=${process.env.DBUS_SYSTEM_BUS_ADDRESS}`, "call",
        "org.impermanence1", "/org/impermanence1", "org.impermanence1.Manager", "Rescan", "t", "0"]);
    execFileSync("btrfs", ["subvolume", "create", `${process.env.TOP}/old_roots/${left}`]);
    rescan();
    await page.sees("left behind", page.row(left));
    await page.button(`Details of ${left}`).click();
    assert.ok(await page.dialog.getByRole("button", { name: "Boot a copy of it once…" }).isDisabled());
    assert.ok(await page.dialog.getByRole("button", { name: "Restore files…" }).isDisabled());
    await page.button("Close").click();
    await page.gone(page.dialog);
    execFileSync("btrfs", ["subvolume", "delete", `${process.env.TOP}/old_roots/${left}`]);
    rescan();
    await page.gone(page.row(left));
});

test("a snapshot is taken", async () => {
    await page.button("Take a snapshot…").click();
    await page.dialog.getByLabel("Label").fill("before the upgrade");
    await page.accessible();
    await page.button("Take it").click();
    await page.hears("Take a snapshot: done");
    await page.gone(page.dialog);
    await page.sees("snapshot", page.row("before the upgrade"));
    assert.equal(listed().filter(r => r.kind === "snapshot").length, 1);
});

test("the next boot keeps the root, or takes a copy of an old one, or neither", async () => {
    const next = () => JSON.parse(impermanence("next", "--json")).nextBoot;
    await page.button("Keep this root once").click();
    await page.sees("This root is kept, once");
    assert.equal(next().action, "keep");
    await page.button(`Details of ${adopted}`).click();
    await page.button("Boot a copy of it once…").click();
    await page.sees("writable copy", page.dialog);
    await page.button("Boot it next").click();
    await page.sees(`A copy of ${adopted}, once`);
    assert.equal(next().name, adopted);
    await page.button("Fresh root instead").click();
    await page.button("Keep this root once").waitFor();
    assert.equal(next().action, "fresh");
});

test("a root is deleted after a question, which can be answered with no", async () => {
    await page.button(`Details of ${also}`).click();
    await page.button("Delete…").click();
    await page.sees("This can't be undone", page.dialog);
    await page.button("Cancel").click();
    await page.gone(page.dialog);
    assert.ok(root(also));
    await page.button(`Details of ${also}`).click();
    await page.button("Delete…").click();
    await page.button("Delete").click();
    await page.hears("Delete old roots: done");
    await page.gone(page.row(also));
    assert.ok(!root(also));
});

test("entries are put in place; one that can't be says why", async () => {
    await page.button("Put in place: /var/log").click();
    await page.hears("Put entries in place:");
    await page.page.getByRole("button", { name: "Dismiss" }).click();
    renameSync(`${process.env.ROOT}/var/log`, `${process.env.ROOT}/var/log.before`);
    await page.button("Put in place: /var/log").click();
    await page.hears("Put entries in place: done");
    await page.sees("4 in place");
});

test("one thing more is kept, and forgotten", async () => {
    mkdirSync(`${process.env.ROOT}/etc/wireguard`);
    writeFileSync(`${process.env.ROOT}/etc/wireguard/wg0.conf`, "secret");
    await page.button("Keep something more…").click();
    await page.dialog.getByLabel("Path").fill("/etc/wireguard");
    await page.accessible();
    await page.pictures("keep");
    await page.page.keyboard.press("Enter");
    await page.hears("Keep something more: done");
    await page.sees("in place", page.row("/persist/etc/wireguard"));
    await page.button("Forget… /etc/wireguard").click();
    await page.button("Forget it").click();
    await page.hears("Forget: done");
    await page.gone(page.row("/persist/etc/wireguard"));
    assert.equal(readFileSync(`${process.env.ROOT}/etc/wireguard/wg0.conf`, "utf8"), "secret");
});

test("what is kept from the next boot on is told as that, and is nothing wrong", async () => {
    mkdirSync(`${process.env.ROOT}/etc/later`);
    impermanence("persist", "--next-boot", "/etc/later");
    await page.sees("at the next boot", page.row("/persist/etc/later"));
    await page.sees("4 in place, 1 at the next boot");
    impermanence("forget", "--next-boot", "/etc/later");
    await page.gone(page.row("/persist/etc/later"));
});

test("what can't be kept is said where it was asked", async () => {
    await page.button("Keep something more…").click();
    await page.dialog.getByLabel("Path").fill("no/absolute/path");
    await page.button("Keep it").click();
    await page.dialog.locator(".alert.danger").waitFor();
    await page.page.keyboard.press("Escape");
    await page.gone(page.dialog);
});

test("a file comes back from an old root", async () => {
    await page.button(`Details of ${process.env.LOST_ON}`).click();
    await page.button("Restore files…").click();
    await page.dialog.getByLabel("Files and directories").fill("/etc/lost\n/etc/nothing\n");
    await page.accessible();
    await page.button("Restore").click();
    await page.dialog.getByText("restored", { exact: true }).waitFor();
    await page.sees("/etc/nothing", page.dialog);
    await page.hears("Restore files: partly done: /etc/nothing");
    await page.pictures("restore");
    assert.equal(readFileSync(`${process.env.ROOT}/etc/lost`, "utf8"), "found");
    await page.button("Close").click();
    await page.page.getByRole("button", { name: "Dismiss" }).click();
});

test("an old root is looked into, and gives back what was found there", async () => {
    rmSync(`${process.env.ROOT}/etc/lost`);
    await page.button(`Details of ${process.env.LOST_ON}`).click();
    await page.button("Browse…").click();
    await page.button("etc/").click();
    await page.sees("lost", page.dialog);
    await page.accessible();
    await page.pictures("browse");
    await page.button("/").click();
    await page.button("etc/").click();
    await page.button("Restore /etc/lost").click();
    await page.dialog.getByText("restored", { exact: true }).waitFor();
    assert.equal(readFileSync(`${process.env.ROOT}/etc/lost`, "utf8"), "found");
    await page.button("Close").click();
    await page.gone(page.row(process.env.LOST_ON).getByText("in use")); // it is let go
});

test("what the next boot will lose is found, and kept", async () => {
    mkdirSync(`${process.env.ROOT}/opt/app`, { recursive: true });
    writeFileSync(`${process.env.ROOT}/opt/app/state`, "x".repeat(5000));
    await page.button("Look").click();
    await page.hears("What the next boot will lose is known");
    await page.sees("added", page.row("/opt/app/state"));
    await page.accessible();
    await page.pictures("losses");
    await page.button("Keep… /opt/app/state").click();
    assert.equal(await page.dialog.getByLabel("Path").inputValue(), "/opt/app/state");
    await page.dialog.getByLabel("Path").fill("/opt/app");
    await page.button("Keep it").click();
    await page.hears("Keep something more: done");
    await page.button("Look again").click();
    await page.gone(page.row("/opt/app/state"));
});

test("a configuration that has changed is told, and read again when that is asked for", async () => {
    const config = process.env.CONFIG, right = readFileSync(config, "utf8");
    writeFileSync(config, right.replace("keepLast", "keepLost"));
    await page.sees("The configuration has changed since it was read.");
    process.kill(daemon.process.pid, "SIGHUP");
    await page.sees(/Configuration: .*keepLost/);
    await page.accessible();
    writeFileSync(config, right);
    await page.button("Read it again").first().click();
    await page.hears("The configuration was read again");
    await page.gone(page.page.getByText(/Configuration: .*keepLost/));
});

test("the page in pictures", async () => {
    impermanence("pin", adopted);
    await page.sees("pinned", page.row(adopted));
    await page.pictures("page");
});

test("prune shows its plan with the reasons, its progress, and can be canceled", async () => {
    await page.button("Prune…").click();
    await page.sees("The retention policy does not keep 2 roots.", page.dialog);
    await page.sees("kept by no rule", page.dialog);
    await page.page.getByText("Kept: 4").click();
    await page.sees("within 30d", page.dialog);
    await page.accessible();
    await page.pictures("prune");
    await frozen(process.env.TOP, async () => {
        await page.button("Delete 2 roots").click();
        await page.gone(page.dialog);
        await page.page.getByRole("heading", { name: "Under way" }).waitFor();
        await page.accessible();
        await page.pictures("job");
        await page.button("Cancel: Prune").click();
        await page.hears("It ends as soon as it can");
    });
    await page.hears("Prune: canceled");
    await page.gone(page.page.getByRole("heading", { name: "Under way" }));
    await page.row("2024-11-06_09:00:00").waitFor(); // its turn did not come
});

test("of many roots some are shown, and all when that is asked for", async () => {
    for (let i = 0; i < 12; i++)
        impermanence("snapshot", `--label=number ${i}`);
    const all = listed().length;
    await page.button(`Show all ${all}`).click();
    await page.row("number 0").waitFor();
    assert.equal(await page.page.locator("[aria-labelledby=roots] tbody tr").count(), all);
});

test("a daemon that ends and comes again is noticed", async () => {
    await daemon.stop();
    await page.page.getByRole("heading", { name: "The daemon does not run" }).waitFor();
    daemon.start();
    await page.page.getByRole("heading", { name: "Overview" }).waitFor();
});
