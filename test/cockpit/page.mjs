// The page in a browser, and the daemon behind it, for the tests beside this file.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** The daemon as a process. */
export class Daemon {
    start() {
        const [program, ...args] = JSON.parse(process.env.DAEMON);
        this.process = spawn(program, args, { stdio: ["ignore", "ignore", "inherit"] });
        this.ended = new Promise(resolve => this.process.once("exit", resolve));
    }

    async stop() {
        this.process?.kill("SIGTERM");
        await this.ended;
    }
}

/** Runs the command line, and answers with what it prints. */
export function impermanence(...args) {
    return execFileSync("../../bin/impermanence", args, { encoding: "utf8" });
}

/** A file system that takes no writes holds up whatever writes, for as long as a test needs to look at it. */
export async function frozen(path, look) {
    execFileSync("fsfreeze", ["--freeze", path]);
    try {
        return await look();
    } finally {
        execFileSync("fsfreeze", ["--unfreeze", path]);
    }
}

/**
 * What Cockpit's bridge sends as the newer one does, which is written in Python: of the files in a directory it does
 * not tell the sizes, and of a byte that is not UTF-8 it makes half of a surrogate pair.
 */
export function newer(sent) {
    return sent.includes('"event":"present"') ? sent.replace(/"size":\d+,?/, "").replaceAll("\ufffd", "\\udce9") : sent;
}

/** Opens the page. What it logs as an error, or does not catch, fails the test at close. */
export class Page {
    static async open(options, bridge = sent => sent) {
        const self = new Page();
        self.browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox"] });
        self.page = await self.browser.newPage({ locale: "en-GB", timezoneId: "UTC", ...options });
        self.page.setDefaultTimeout(Number(process.env.PATIENCE ?? 30) * 1000);
        self.faults = [];
        await self.page.routeWebSocket("**", socket => {
            const server = socket.connectToServer();
            server.onMessage(message => socket.send(typeof message === "string" ? bridge(message) : message));
        });
        self.page.on("pageerror", error => self.faults.push(String(error.stack ?? error)));
        self.page.on("console", message => message.type() === "error" && self.faults.push(message.text()));
        await self.page.goto(process.env.PAGE);
        return self;
    }

    /** The page has no error of its own. */
    async close() {
        await this.browser.close();
        assert.deepEqual(this.faults, []);
    }

    async sees(text, where = this.page) {
        await where.getByText(text).first().waitFor();
    }

    async gone(locator) {
        await locator.waitFor({ state: "hidden" });
    }

    button(name) {
        return this.page.getByRole("button", { name, exact: true });
    }

    /** The row of a table that has a text. */
    row(text) {
        return this.page.getByRole("row").filter({ hasText: text });
    }

    /** The name of what has the focus. */
    focused() {
        return this.page.evaluate(() => document.activeElement.ariaLabel);
    }

    get dialog() {
        return this.page.getByRole("dialog");
    }

    /** Waits for what those hear who can't see the page, and hears it once. */
    async hears(text) {
        const said = this.page.getByRole("status").locator("p").filter({ hasText: text }).first();
        await said.waitFor({ state: "attached" });
        await said.evaluate(element => element.remove());
    }

    /** What axe finds wrong with what is shown now, in light and in dark, is nothing. */
    async accessible() {
        for (const colorScheme of ["light", "dark"]) {
            await this.page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
            await this.page.evaluate(axe);
            const { violations, passes } = await this.page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
            assert.ok(passes.length > 5, "axe looked at the page");
            assert.deepEqual(violations.map(v => [v.id, v.help, v.nodes.map(n => n.html)]), []);
        }
        await this.page.emulateMedia({ colorScheme: "light" });
    }

    /** Pictures of what is shown: light, dark, and on a narrow screen. */
    async pictures(name) {
        const size = this.page.viewportSize();
        const fullPage = !await this.dialog.isVisible(); // which lies over what is seen, not over all of the page
        const shoot = look => this.page.screenshot({ path: `${process.env.PICTURES}/cockpit-${name}-${look}.png`, fullPage });
        await shoot("light");
        await this.page.emulateMedia({ colorScheme: "dark" });
        await shoot("dark");
        await this.page.emulateMedia({ colorScheme: "light" });
        await this.page.setViewportSize({ width: 360, height: 800 });
        const wider = await this.page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        assert.ok(wider <= 0, `${name}: a narrow screen does not scroll sideways (${wider} px too wide)`);
        await shoot("narrow");
        await this.page.setViewportSize(size);
    }
}
