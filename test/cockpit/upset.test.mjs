// The page when something goes wrong while it is open, or is asked for twice, or has a name that is no text: nothing that was typed
// is lost, nothing is done that nobody saw, and what is the matter is said where it was asked.

import assert from "node:assert/strict";
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { after, afterEach, before, test } from "node:test";
import { Daemon, Page, frozen, impermanence, newer } from "./page.mjs";

const daemon = new Daemon();
let page;

before(async () => {
    daemon.start();
    page = await Page.open({ locale: "de-DE" }, newer);
    await page.page.getByRole("heading", { name: "Overview" }).waitFor();
});
afterEach(async () => {
    await close();
    for (const dismiss of await page.page.getByRole("button", { name: "Dismiss" }).all())
        await dismiss.click();
});
after(async () => {
    await daemon.stop();
    await page.close();
});

const listed = () => JSON.parse(impermanence("roots", "--json")).roots;
const root = name => listed().find(r => r.name === name);
const pinned = "2024-11-04_10:33:02", other = "2024-11-4_11:00:00", third = "2024-11-05_09:00:00";
const alert = () => page.dialog.getByRole("alert");
const path = () => page.dialog.getByLabel("Path");

async function close() {
    await page.page.keyboard.press("Escape");
    await page.gone(page.dialog);
}

test("a dialog outlives the daemon, with what was typed in it", async () => {
    await page.button("Keep something more…").click();
    await path().fill("/etc/wireguard");
    mkdirSync(`${process.env.ROOT}/etc/wireguard`);
    await daemon.stop();
    await page.sees("The daemon does not run");
    await page.button("Keep it").click();
    await alert().getByText("The daemon does not run").waitFor();
    assert.equal(await path().inputValue(), "/etc/wireguard");
    daemon.start();
    await page.sees("Old roots and snapshots");
    await page.button("Keep it").click();
    await page.hears("Keep something more: done");
    await page.gone(page.dialog);
});

test("a daemon that is killed before it answers is said in words", async () => {
    process.kill(daemon.process.pid, "SIGSTOP");
    await page.button(`Pin ${pinned}`).click();
    process.kill(daemon.process.pid, "SIGKILL");
    await page.sees("ended before it answered");
    await daemon.stop();
    daemon.start();
    await page.row(pinned).waitFor();
});

test("an answer ends the dialog that asked, and no other", async () => {
    await page.button("Take a snapshot…").click();
    process.kill(daemon.process.pid, "SIGSTOP");
    await page.button("Take it").click();
    await page.button("Cancel").click();
    await page.button("Keep something more…").click();
    await path().fill("/etc/ssh");
    process.kill(daemon.process.pid, "SIGCONT");
    await page.hears("Take a snapshot: done");
    assert.equal(await path().inputValue(), "/etc/ssh");
});

test("an error is said in the dialog that asked, and no other", async () => {
    await page.button("Keep something more…").click();
    await path().fill("no/absolute/path");
    process.kill(daemon.process.pid, "SIGSTOP");
    await page.button("Keep it").click();
    await page.button("Cancel").click();
    await page.button("Take a snapshot…").click();
    process.kill(daemon.process.pid, "SIGCONT");
    await page.hears("no/absolute/path");
    assert.equal(await alert().count(), 0);
    await close();
});

test("a restore that is refused keeps the paths", async () => {
    await page.button(`Details of ${process.env.LOST_ON}`).click();
    await page.button("Restore files…").click();
    await page.dialog.getByLabel("Files and directories").fill("etc/lost");
    await page.button("Restore").click();
    await alert().waitFor();
    assert.equal(await page.dialog.getByLabel("Files and directories").inputValue(), "etc/lost");
});

test("a root that goes while it is looked at is said to be gone", async () => {
    await page.button(`Details of ${other}`).click();
    impermanence("delete", other);
    await page.gone(page.dialog);
    await page.sees(`${other} is gone.`);
});

test("only what was shown is pruned", async () => {
    impermanence("pin", pinned);
    await page.sees("pinned", page.row(pinned));
    await page.button("Prune…").click();
    await page.button("Delete 2 roots").waitFor();
    impermanence("unpin", pinned);
    const before = listed().length;
    await page.button("Delete 2 roots").click();
    await page.sees("has changed meanwhile", alert());
    await page.button("Delete 3 roots").waitFor();
    assert.equal(listed().length, before);
});

test("a double click is one", async () => {
    await page.button(`Pin ${pinned}`).click();
    await page.hears(`${pinned} is pinned`);
    await page.button(`Unpin ${pinned}`).waitFor();
    await page.page.mouse.down({ clickCount: 2 });
    await page.page.mouse.up({ clickCount: 2 });
    await page.button(`Pin ${third}`).click();
    await page.hears(`${third} is pinned`);
    assert.ok(root(pinned).pinned);
});

test("Enter once too often deletes nothing, and the focus stays in the dialog", async () => {
    await page.button(`Details of ${process.env.LOST_ON}`).click();
    await page.button("Boot a copy of it once…").focus();
    await page.page.keyboard.press("Enter");
    assert.equal(await page.page.evaluate(() => document.activeElement.textContent), "Cancel");
    await close();
    await page.button(`Details of ${process.env.LOST_ON}`).click();
    await page.button("Browse…").click();
    await page.button("etc/").focus();
    await page.page.keyboard.press("Enter");
    await page.sees("lost", page.dialog);
    assert.ok(await page.page.evaluate(() => document.activeElement.closest("dialog")));
});

test("what was done is said in a dialog too, where the page below is out of reach", async () => {
    await page.button(`Details of ${pinned}`).click();
    await page.dialog.getByLabel("Label").fill("the first");
    await page.button("Save").click();
    await page.dialog.getByRole("status").getByText(`The label of ${pinned} is saved`).waitFor();
    await page.accessible();
    await page.pictures("told");
});

test("what a person has closed stays closed", async () => {
    for (const r of listed().filter(r => !r.pinned))
        impermanence("pin", r.name);
    await page.button("Prune…").click();
    await page.sees("There is nothing to prune", page.dialog);
    const kept = page.dialog.locator("details");
    await kept.locator("summary").click();
    impermanence("unpin", third);
    await page.gone(page.row(third).getByText("pinned"));
    assert.equal(await kept.getAttribute("open"), null);
});

test("times are said in English, and by the clock of another machine", async () => {
    await page.row(pinned).getByText(/^\d+ days ago$|^\d,\d+ days ago$/).waitFor();
    await page.page.clock.setFixedTime(Date.now() - 20_000);
    impermanence("snapshot", "--label=of now");
    await page.sees("just now", page.row("of now"));
    await page.page.clock.setFixedTime(Date.now());
});

test("a long path is not cut", async () => {
    await page.button("Keep something more…").click();
    await path().focus();
    await page.page.keyboard.insertText(`/${"long/".repeat(60)}path`);
    assert.equal((await path().inputValue()).length, 305);
});

test("a name that no field can have is kept as it is; one that is no text can't be", async () => {
    mkdirSync(`${process.env.ROOT}/opt`);
    writeFileSync(`${process.env.ROOT}/opt/two\nlines`, "x".repeat(9000));
    writeFileSync(Buffer.from(`${process.env.ROOT}/opt/caf\xe9`, "latin1"), "x".repeat(8000));
    await page.button("Look").focus();
    await page.page.keyboard.press("Enter");
    await page.hears("What the next boot will lose is known");
    assert.equal(await page.page.evaluate(() => document.activeElement.textContent), "Look again");
    await page.button("Keep… /opt/two lines").click();
    await page.button("Keep it").click();
    await page.hears("Keep something more: done");
    await page.sees("in place", page.row("/persist/opt/two"));
    await page.button("Keep… /opt/caf\ufffd").click();
    await page.button("Keep it").click();
    await page.sees("it is not UTF-8", alert());
});

test("a file comes back whose name is no text, by way of a bridge that tells no sizes", async () => {
    writeFileSync(Buffer.from(`${process.env.TOP}/old_roots/${pinned}/caf\xe9`, "latin1"), "crème");
    await page.button(`Details of ${pinned}`).click();
    await page.button("Browse…").click();
    await page.sees("caf", page.dialog);
    assert.equal(await page.dialog.getByText("undefined").count(), 0);
    await page.dialog.getByRole("button", { name: "Restore /caf" }).click();
    await page.dialog.getByText("restored", { exact: true }).waitFor();
    assert.equal(readFileSync(Buffer.from(`${process.env.ROOT}/caf\xe9`, "latin1"), "utf8"), "crème");
});

test("what was canceled is no error", async () => {
    await frozen(process.env.TOP, async () => {
        await page.button("Look again").click();
        await page.button("Cancel: Look for what the next boot will lose").click();
        await page.hears("It ends as soon as it can");
    });
    await page.hears("Look for what the next boot will lose: canceled");
    await page.button("Look").waitFor();
    assert.equal(await page.page.locator("main .alert.danger").count(), 0);
});

test("of very many losses the largest are listed, and the page says so", async () => {
    mkdirSync(`${process.env.ROOT}/opt/many`);
    for (let i = 0; i < 1100; i++)
        writeFileSync(`${process.env.ROOT}/opt/many/${i}`, "");
    await page.button("Look").click();
    await page.sees("Only the 1000 largest are listed.");
    await page.button("Show all 1000").focus();
    await page.page.keyboard.press("Enter");
    await page.row("/opt/many/7").first().waitFor();
    assert.equal(await page.page.evaluate(() => document.activeElement.closest("section")?.ariaLabelledByElements?.[0].id ?? document.activeElement.getAttribute("aria-labelledby")), "losses");
});

test("old roots that can't be listed are not said to be none", async () => {
    await daemon.stop();
    renameSync(`${process.env.TOP}/old_roots`, `${process.env.TOP}/elsewhere`);
    writeFileSync(`${process.env.TOP}/old_roots`, "");
    daemon.start();
    await page.page.reload(); // without the thousand losses
    await page.sees("Old roots can't be listed:");
    await page.accessible();
    await page.pictures("unlisted");
});
