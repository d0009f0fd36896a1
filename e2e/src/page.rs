//! A page in a browser of its own, and the words to say what a user does and sees.
//!
//! Whatever the page writes to the console as an error, a broken content security policy
//! included, fails the test that looked at it, unless the test said that it comes.

use std::{cell::RefCell, panic::AssertUnwindSafe, path::Path, process::Stdio, time::Duration};

use anyhow::{Context, Result, bail};
use futures_util::FutureExt;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tempfile::TempDir;
use thirtyfour::{
    ChromiumLikeCapabilities, DesiredCapabilities, LoggingPrefsLogLevel, WebDriver, WindowHandle,
    prelude::By,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use crate::{SOON, eventually, setting};

/// Quiet, headless and alone: no first-run pages and no talk with anybody's servers. The pipe
/// makes the browser end with the driver, should a test be killed.
const CHROMIUM_FLAGS: &[&str] = &[
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
    "--window-size=1440,900",
];

/// How long a driver may take to open its port.
const DRIVER_WITHIN: Duration = Duration::from_secs(15);

/// How long a browser may take to answer its driver: seconds on a busy machine, and for ever where
/// it hung at its start.
const BROWSER_WITHIN: Duration = Duration::from_secs(25);

/// A browser that hangs or ends at its start says nothing about the page, so it is started anew.
const BROWSER_TRIES: usize = 3;

/// In what the page is looked at: the size of the screen in CSS pixels, and what the system says
/// about colours.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// Width.
    pub width: u32,
    /// Height.
    pub height: u32,
    /// The system prefers dark colours.
    pub dark: bool,
    /// A finger in place of a mouse.
    pub touch: bool,
}

impl Look {
    /// A laptop in the light.
    pub const DESKTOP: Self = Self {
        width: 1440,
        height: 900,
        dark: false,
        touch: false,
    };
    /// A tablet held upright.
    pub const TABLET: Self = Self {
        width: 768,
        height: 1024,
        dark: false,
        touch: true,
    };
    /// A usual phone.
    pub const PHONE: Self = Self {
        width: 390,
        height: 844,
        dark: false,
        touch: true,
    };
    /// The smallest phone that is cared for.
    pub const SMALL_PHONE: Self = Self {
        width: 360,
        height: 740,
        dark: false,
        touch: true,
    };

    /// The same with a system that prefers dark colours.
    #[must_use]
    pub const fn dark(self) -> Self {
        Self { dark: true, ..self }
    }
}

/// A page in a browser.
#[derive(Debug)]
pub struct Page {
    driver: WebDriver,
    /// Parts of console messages that the test expects.
    expected: RefCell<Vec<String>>,
}

/// Opens `url` in a fresh browser, lets `test` look at it, and sees that the browser ends.
///
/// # Errors
/// What `test` says, or errors on the page's console that it did not expect. A picture of the
/// page as it was then is left in the system's temporary folder.
pub async fn visit(
    url: &str,
    look: Look,
    test: impl AsyncFnOnce(&Page) -> Result<()>,
) -> Result<()> {
    visit_watched(url, "", look, test).await
}

/// The same with a script that runs in the page before anything of its own, and a result.
///
/// # Errors
/// As [`visit`].
pub async fn visit_watched<T>(
    url: &str,
    script: &str,
    look: Look,
    test: impl AsyncFnOnce(&Page) -> Result<T>,
) -> Result<T> {
    let (driver, page) = started().await?;
    let outcome = AssertUnwindSafe(async {
        page.look(look).await?;
        if !script.is_empty() {
            page.devtools(
                "Page.addScriptToEvaluateOnNewDocument",
                json!({ "source": script }),
            )
            .await?;
        }
        page.goto(url).await?;
        let found = test(&page).await?;
        page.console_is_clean().await?;
        Ok(found)
    })
    .catch_unwind()
    .await;
    if !matches!(outcome, Ok(Ok(_))) {
        page.tell_what_it_looked_like().await;
    }
    // The browser's answer does not matter any more; `Driver` ends it in any case.
    page.driver.quit().await.ok();
    driver.end().await;
    match outcome {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

impl Page {
    /// Changes what the page is looked at in.
    ///
    /// # Errors
    /// The browser refuses.
    pub async fn look(&self, look: Look) -> Result<()> {
        let metrics = json!({
            "width": look.width, "height": look.height, "deviceScaleFactor": 1, "mobile": look.touch,
        });
        self.devtools("Emulation.setDeviceMetricsOverride", metrics)
            .await?;
        let touch = json!({ "enabled": look.touch, "maxTouchPoints": 1 });
        self.devtools("Emulation.setTouchEmulationEnabled", touch)
            .await?;
        let scheme = if look.dark { "dark" } else { "light" };
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.devtools("Emulation.setEmulatedMedia", features)
            .await?;
        Ok(())
    }

    /// Asks the browser's own tools for something that no page can.
    ///
    /// # Errors
    /// It refuses.
    pub async fn devtools(&self, method: &str, parameters: Value) -> Result<Value> {
        self.driver
            .cdp()
            .send_raw(method, parameters)
            .await
            .with_context(|| format!("the browser refuses {method}"))
    }

    /// What the browser counts of the page, such as `TaskDuration` in seconds.
    ///
    /// # Errors
    /// It refuses.
    pub async fn metrics(&self) -> Result<Vec<(String, f64)>> {
        self.devtools("Performance.enable", json!({})).await?;
        let answer = self.devtools("Performance.getMetrics", json!({})).await?;
        let metrics = answer["metrics"].as_array().cloned().unwrap_or_default();
        let pair = |metric: &Value| {
            let name = metric["name"].as_str()?.to_owned();
            Some((name, metric["value"].as_f64()?))
        };
        Ok(metrics.iter().filter_map(pair).collect())
    }

    /// Goes to an address.
    ///
    /// # Errors
    /// Nothing is there.
    pub async fn goto(&self, url: &str) -> Result<()> {
        self.driver
            .goto(url)
            .await
            .with_context(|| format!("{url} cannot be opened"))
    }

    /// The window that is looked at, by the driver's name for it.
    ///
    /// # Errors
    /// It is gone.
    pub async fn window(&self) -> Result<WindowHandle> {
        Ok(self.driver.window().await?)
    }

    /// Opens a further window of the same browser at an address, and looks at it.
    ///
    /// # Errors
    /// The browser refuses, or nothing is there.
    pub async fn open_window(&self, url: &str) -> Result<WindowHandle> {
        let window = self.driver.new_window().await?;
        self.switch_to(&window).await?;
        self.goto(url).await?;
        Ok(window)
    }

    /// Looks at another window.
    ///
    /// # Errors
    /// It is gone.
    pub async fn switch_to(&self, window: &WindowHandle) -> Result<()> {
        Ok(self.driver.switch_to_window(window.clone()).await?)
    }

    /// Loads the page anew.
    ///
    /// # Errors
    /// It is not there any more.
    pub async fn reload(&self) -> Result<()> {
        Ok(self.driver.refresh().await?)
    }

    /// Runs the body of a function in the page and returns what it returns.
    ///
    /// # Errors
    /// It throws, or returns something else than expected.
    pub async fn eval<T: DeserializeOwned>(&self, body: &str) -> Result<T> {
        self.eval_with(body, Vec::new()).await
    }

    /// The same with `arguments`.
    ///
    /// # Errors
    /// As [`Self::eval`].
    pub async fn eval_with<T: DeserializeOwned>(
        &self,
        body: &str,
        arguments: Vec<Value>,
    ) -> Result<T> {
        Ok(self.driver.execute(body, arguments).await?.convert()?)
    }

    /// The same for a body that calls its last argument when it is done.
    ///
    /// # Errors
    /// As [`Self::eval`], or it never calls.
    pub async fn eval_async<T: DeserializeOwned>(
        &self,
        body: &str,
        arguments: Vec<Value>,
    ) -> Result<T> {
        Ok(self
            .driver
            .execute_async(body, arguments)
            .await?
            .convert()?)
    }

    /// The visible texts of all elements that match, in the order of the page. All are read at
    /// one moment.
    ///
    /// # Errors
    /// The page is gone.
    pub async fn texts(&self, css: &str) -> Result<Vec<String>> {
        let body = "return [...document.querySelectorAll(arguments[0])].map(e => (e.innerText ?? e.textContent).trim());";
        self.eval_with(body, vec![css.into()]).await
    }

    /// The visible text of the first element that matches.
    ///
    /// # Errors
    /// None does.
    pub async fn text(&self, css: &str) -> Result<String> {
        self.texts(css)
            .await?
            .into_iter()
            .next()
            .with_context(|| format!("nothing on the page matches {css}"))
    }

    /// How many elements match.
    ///
    /// # Errors
    /// The page is gone.
    pub async fn count(&self, css: &str) -> Result<usize> {
        Ok(self.texts(css).await?.len())
    }

    /// Clicks the first visible button whose text or label contains `name`.
    ///
    /// # Errors
    /// There is none, or something lies over it.
    pub async fn click_button(&self, name: &str) -> Result<()> {
        for button in self.driver.find_all(By::Css("button")).await? {
            let text = button.text().await.unwrap_or_default();
            let label = button.attr("aria-label").await?.unwrap_or_default();
            if (text.contains(name) || label.contains(name)) && button.is_displayed().await? {
                button.scroll_into_view().await?;
                return Ok(button.click().await?);
            }
        }
        bail!("the page has no button {name:?}")
    }

    /// Chooses the option with this label, of those that a row of them offers.
    ///
    /// # Errors
    /// There is none, or something lies over it.
    pub async fn choose(&self, label: &str) -> Result<()> {
        for option in self.driver.find_all(By::Css("label")).await? {
            if option.text().await? == label && option.is_displayed().await? {
                option.scroll_into_view().await?;
                return Ok(option.click().await?);
            }
        }
        bail!("the page has no option {label:?}")
    }

    /// Clicks the first element that matches.
    ///
    /// # Errors
    /// There is none, or something lies over it.
    pub async fn click(&self, css: &str) -> Result<()> {
        let element = self.driver.find(By::Css(css)).await?;
        element.scroll_into_view().await?;
        Ok(element.click().await?)
    }

    /// Puts `text` in the place of what the first field that matches holds, key by key.
    ///
    /// # Errors
    /// There is none, or it cannot be written in.
    pub async fn fill(&self, css: &str, text: &str) -> Result<()> {
        let field = eventually(css, SOON, async || {
            let mut found = self.driver.find_all(By::Css(css)).await?;
            Ok((!found.is_empty()).then(|| found.swap_remove(0)))
        })
        .await?;
        field.scroll_into_view().await?;
        field.click().await?;
        // Selected and overwritten, as a user would: emptying it by other means tells no page.
        self.eval_with::<Value>(
            "document.querySelector(arguments[0]).select(); return null;",
            vec![css.into()],
        )
        .await?;
        Ok(field.send_keys(text).await?)
    }

    /// Sends text and keys to the first element that matches, as it is.
    ///
    /// # Errors
    /// There is none.
    pub async fn press(&self, css: &str, keys: &str) -> Result<()> {
        let field = self.driver.find(By::Css(css)).await?;
        Ok(field.send_keys(keys).await?)
    }

    /// Moves the mouse over the first element that matches, to a place that lies at `x` of its
    /// width (0 to 1) and half its height.
    ///
    /// # Errors
    /// There is none.
    pub async fn hover(&self, css: &str, x: f64) -> Result<()> {
        let (x, y) = self.place_in(css, x).await?;
        Ok(self.driver.action_chain().move_to(x, y).perform().await?)
    }

    /// Drags the mouse over the first element that matches, from one place of its width (0 to 1)
    /// to another.
    ///
    /// # Errors
    /// There is none.
    pub async fn drag(&self, css: &str, from: f64, to: f64) -> Result<()> {
        let (begin, y) = self.place_in(css, from).await?;
        let (end, _) = self.place_in(css, to).await?;
        let chain = self.driver.action_chain().move_to(begin, y);
        let chain = chain.click_and_hold().move_to(end, y);
        Ok(chain.release().perform().await?)
    }

    /// A place on the screen at `x` of an element's width and half its height.
    async fn place_in(&self, css: &str, x: f64) -> Result<(i64, i64)> {
        let body = "const e = document.querySelector(arguments[0]); e.scrollIntoView({block: 'center'}); \
                    const r = e.getBoundingClientRect(); return [r.left, r.top, r.width, r.height];";
        let [left, top, width, height]: [f64; 4] = self.eval_with(body, vec![css.into()]).await?;
        #[expect(clippy::cast_possible_truncation, reason = "a place on a screen")]
        let place = ((left + width * x) as i64, (top + height / 2.0) as i64);
        Ok(place)
    }

    /// Whether the page says that it is live.
    ///
    /// # Errors
    /// The page is gone.
    pub async fn is_live(&self) -> Result<bool> {
        Ok(self
            .texts(".status.connected")
            .await?
            .iter()
            .any(|text| text.contains("Live")))
    }

    /// Waits until the page says that it is live.
    ///
    /// # Errors
    /// It does not.
    pub async fn becomes_live(&self) -> Result<()> {
        eventually("the page is live", SOON, async || {
            Ok(self.is_live().await?.then_some(()))
        })
        .await
    }

    /// Waits until the page says that it is disconnected.
    ///
    /// # Errors
    /// It does not `within` that time.
    pub async fn becomes_disconnected(&self, within: Duration) -> Result<()> {
        eventually(
            "the page says that it is disconnected",
            within,
            async || {
                let texts = self.texts(".status.disconnected").await?;
                Ok(texts
                    .iter()
                    .any(|text| text.contains("Disconnected"))
                    .then_some(()))
            },
        )
        .await
    }

    /// Waits until the page shows `text` anywhere.
    ///
    /// # Errors
    /// It does not.
    pub async fn shows(&self, text: &str) -> Result<()> {
        eventually(&format!("the page shows {text:?}"), SOON, async || {
            Ok(self.text("body").await?.contains(text).then_some(()))
        })
        .await
    }

    /// Says that console errors containing `part` come and are right.
    pub fn expects_errors(&self, part: &str) {
        self.expected.borrow_mut().push(part.to_owned());
    }

    async fn console_is_clean(&self) -> Result<()> {
        let log = self.driver.browser_log().await?;
        let expected = self.expected.borrow();
        let unexpected: Vec<String> = log
            .into_iter()
            .filter(|entry| entry.level == "SEVERE")
            .map(|entry| entry.message)
            .filter(|message| !expected.iter().any(|part| message.contains(part.as_str())))
            .collect();
        if !unexpected.is_empty() {
            bail!("the page's console has errors:\n{}", unexpected.join("\n"));
        }
        Ok(())
    }

    /// Writes a picture of what is on the screen.
    ///
    /// # Errors
    /// The browser refuses, or the file cannot be written.
    pub async fn screenshot(&self, file: &Path) -> Result<()> {
        Ok(self.driver.screenshot(file).await?)
    }

    async fn tell_what_it_looked_like(&self) {
        let test = std::thread::current()
            .name()
            .unwrap_or("test")
            .replace("::", "-");
        let file = std::env::temp_dir().join(format!("pulseboard-e2e-{test}.png"));
        if self.screenshot(&file).await.is_ok() {
            eprintln!("what the page looked like: {}", file.display());
        }
        if let Ok(text) = self.text("body").await {
            eprintln!("what it said:\n{text}\n");
        }
        for entry in self.driver.browser_log().await.unwrap_or_default() {
            eprintln!("console: {} {}", entry.level, entry.message);
        }
    }
}

/// A browser with an empty page.
async fn started() -> Result<(Driver, Page)> {
    let mut tries = 1;
    loop {
        let driver = Driver::start().await?;
        let opened = tokio::time::timeout(BROWSER_WITHIN, driver.open())
            .await
            .unwrap_or_else(|_late| bail!("the browser does not answer its driver"));
        match opened {
            Ok(page) => return Ok((driver, page)),
            Err(error) if tries == BROWSER_TRIES => return Err(error),
            Err(error) => eprintln!("started anew: {error:#}"),
        }
        driver.end().await;
        tries += 1;
    }
}

/// A driver process and the browser that it started.
struct Driver {
    process: Child,
    port: u16,
    /// The browser's own, so that no test sees what another left in its storage.
    profile: TempDir,
}

impl Driver {
    async fn start() -> Result<Self> {
        let mut process = Command::new(setting("CHROMEDRIVER")?)
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("CHROMEDRIVER could not be started")?;
        let mut lines =
            BufReader::new(process.stdout.take().context("its output is piped")?).lines();
        let port = tokio::time::timeout(DRIVER_WITHIN, async {
            while let Some(line) = lines.next_line().await? {
                // Its first line names the port that it was asked for, which is none.
                let port = line
                    .rsplit_once("on port ")
                    .map(|(_, port)| port.trim_end_matches('.'));
                if let Some(Ok(port @ 1..)) = port.map(str::parse) {
                    return Ok(port);
                }
            }
            bail!("chromedriver ended without naming a port")
        })
        .await
        .context("chromedriver names no port")??;
        // It would end at its next line if nobody read on.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Self {
            process,
            port,
            profile: tempfile::tempdir()?,
        })
    }

    async fn open(&self) -> Result<Page> {
        let mut wishes = DesiredCapabilities::chrome();
        wishes.set_binary(&setting("CHROMIUM")?.to_string_lossy())?;
        for flag in CHROMIUM_FLAGS {
            wishes.add_arg(flag)?;
        }
        wishes.add_arg(&format!(
            "--user-data-dir={}",
            self.profile.path().display()
        ))?;
        wishes.set_browser_log_level(LoggingPrefsLogLevel::All)?;
        let driver = WebDriver::new(format!("http://127.0.0.1:{}", self.port), wishes)
            .await
            .context("the browser could not be started")?;
        Ok(Page {
            driver,
            expected: RefCell::default(),
        })
    }

    async fn end(mut self) {
        // Without its driver the browser ends too: the pipe between them closes.
        self.process.kill().await.ok();
    }
}
