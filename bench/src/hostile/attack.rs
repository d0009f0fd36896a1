//! The attacks: each uses up something that is there for all, as far as the server lets it.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use flate2::{Compression, write::GzEncoder};
use serde_json::json;

use super::{ATTACKERS, Http, connect, head, say, token, web_socket};

/// Of the attackers' receive buffers, where they do not read.
const SMALL_BUFFER: usize = 4096;

/// A number that was not used before.
fn unique() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// An attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Attack {
    /// Nobody attacks: what the machine itself does.
    None,
    /// Selectors whose compiled patterns fill memory, watched and left.
    WatchMemory,
    /// Selectors that take long to match, watched.
    WatchFreeze,
    /// Names on `/ws/metrics` that are selectors with patterns.
    Names,
    /// Questions for series that take long to match.
    Search,
    /// Long answers that are asked for and not read.
    Unread,
    /// Names of tenants, asked for without any right.
    Tenants,
    /// Ranges whose readers hold their places.
    Starve,
    /// Logins without end.
    Sessions,
    /// Rooms, selectors and names without end.
    Rooms,
    /// Small packed bodies that become large.
    Bodies,
    /// Connections and streams without end.
    Connections,
    /// Bodies that come slowly.
    SlowBodies,
}

/// Whom it attacks.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where the server listens.
    pub to: SocketAddr,
    /// Where lists of series are asked for.
    pub series: String,
}

impl Target {
    /// What the server has before the attack: series with long labels, as a writer makes them.
    ///
    /// # Errors
    /// They are not taken.
    pub fn prepare(&self, attack: Attack) -> Result<()> {
        let count = match attack {
            Attack::WatchFreeze | Attack::Search => 2_000,
            Attack::Unread | Attack::Starve => 1_000,
            _ => return Ok(()),
        };
        let long = "a".repeat(900);
        for from in (0..count).step_by(100) {
            let mut body = String::new();
            for number in from..from + 100 {
                let labels = match attack {
                    Attack::Unread => (0..9)
                        .map(|label| format!("l{label}=\"{long}{number}\""))
                        .collect::<Vec<_>>()
                        .join(","),
                    _ => format!("i=\"{number}\",p=\"{long}{number}\""),
                };
                body.push_str(&format!("heavy{{{labels}}} 1\n"));
            }
            let head = head("POST", "/push", Some(token::WRITER), "", body.len());
            let answer = Http::open(self.to, super::GOOD)?.ask(&head, body.as_bytes())?;
            anyhow::ensure!(answer.status == 200, "{}", answer.status);
        }
        Ok(())
    }

    /// Attacks until then, or until `is_enough`, which says that the server has taken too much
    /// memory for this machine. A refusal is what an attacker meets; it goes on.
    pub fn attack(&self, attack: Attack, until: Instant, is_enough: &AtomicBool) {
        let goes_on = || Instant::now() < until && !is_enough.load(Ordering::Relaxed);
        let together = |count: usize, one: &(dyn Fn(usize) -> Result<()> + Sync)| {
            thread::scope(|scope| {
                for number in 0..count {
                    scope.spawn(move || {
                        while goes_on() {
                            if one(number).is_err() {
                                thread::sleep(Duration::from_millis(20));
                            }
                        }
                    });
                }
            });
        };
        match attack {
            Attack::None => {
                while goes_on() {
                    thread::sleep(Duration::from_millis(100));
                }
            }
            Attack::WatchMemory => together(4, &|_| self.watch_and_leave(&goes_on)),
            Attack::WatchFreeze => together(4, &|number| self.watch_slowly(number, &goes_on)),
            Attack::Names => together(4, &|_| self.name_selectors(&goes_on)),
            Attack::Search => together(32, &|number| self.search(number)),
            Attack::Unread => together(100, &|_| {
                let path = format!("{}?limit=1000&spark=120", self.series);
                self.ask_and_not_read(&path, &goes_on)
            }),
            Attack::Starve => together(40, &|_| {
                let path = self
                    .series
                    .replace("series", "range?match=%7B%7D&start=-15m&step=100");
                self.ask_and_not_read(&path, &goes_on)
            }),
            Attack::Tenants => together(2, &|_| self.name_tenants(&goes_on)),
            Attack::Sessions => together(2, &|_| self.log_in(&goes_on)),
            Attack::Rooms => together(4, &|_| self.join_rooms(&goes_on)),
            Attack::Bodies => together(4, &|number| self.send_packed(number)),
            Attack::Connections => self.connect_without_end(&goes_on),
            Attack::SlowBodies => together(64, &|_| self.send_slowly(&goes_on)),
        }
    }

    fn watch_and_leave(&self, goes_on: &dyn Fn() -> bool) -> Result<()> {
        let mut socket = web_socket(self.to, ATTACKERS, "/ws", None, None)?;
        while goes_on() {
            let patterns: Vec<_> = (0..30)
                .map(|label| format!("p{label}=~\"[^a]{{150}}\""))
                .collect();
            let selector = format!("{{a{}!=\"x\",{}}}", unique(), patterns.join(","));
            let watch = json!({ "action": "watch", "match": selector });
            say(&mut socket, watch.to_string())?;
            // Its answer, among what comes by itself.
            loop {
                let text = socket.read()?.to_string();
                if text.contains("watched") || text.contains("error") {
                    break;
                }
            }
            let unwatch = json!({ "action": "unwatch", "match": selector });
            say(&mut socket, unwatch.to_string())?;
        }
        Ok(())
    }

    fn watch_slowly(&self, number: usize, goes_on: &dyn Fn() -> bool) -> Result<()> {
        let mut socket = web_socket(self.to, ATTACKERS, "/ws", None, None)?;
        let watch = json!({ "action": "watch", "match": slow_selector(number) });
        say(&mut socket, watch.to_string())?;
        while goes_on() {
            socket.read()?;
        }
        Ok(())
    }

    fn name_selectors(&self, goes_on: &dyn Fn() -> bool) -> Result<()> {
        let mut socket = web_socket(self.to, ATTACKERS, "/ws/metrics", None, None)?;
        for _ in 0..10 {
            let names: Vec<_> = (0..100)
                .map(|_| {
                    let patterns: Vec<_> = (0..20)
                        .map(|label| format!("p{label}=~\"[^a]{{{}}}\"", 150 - label))
                        .collect();
                    format!("x{}{{{}}}", unique(), patterns.join(","))
                })
                .collect();
            let subscribe = json!({ "type": "subscribe", "metrics": names });
            say(&mut socket, subscribe.to_string())?;
        }
        while goes_on() {
            socket.read()?;
        }
        Ok(())
    }

    fn search(&self, number: usize) -> Result<()> {
        let (name, value) = if number.is_multiple_of(2) {
            ("match", slow_selector(number))
        } else {
            ("search", format!("{} zz", "o ".repeat(20_000)))
        };
        let path = format!("{}?limit=1&{name}={}", self.series, encoded(&value));
        Http::open(self.to, ATTACKERS)?.ask(&head("GET", &path, None, "", 0), b"")?;
        Ok(())
    }

    fn ask_and_not_read(&self, path: &str, goes_on: &dyn Fn() -> bool) -> Result<()> {
        let mut stream = connect(self.to, ATTACKERS, Some(SMALL_BUFFER))?;
        stream.set_read_timeout(Some(Duration::from_millis(100)))?;
        stream.write_all(head("GET", path, None, "", 0).as_bytes())?;
        while goes_on() {
            thread::sleep(Duration::from_secs(1));
            let mut some = [0; 100];
            match stream.read(&mut some) {
                Ok(0) => return Ok(()),
                Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => return Ok(()),
                // Asked again at once where it was refused.
                Ok(read) if some[..read].starts_with(b"HTTP/1.1 5") => return Ok(()),
                _ => {}
            }
        }
        Ok(())
    }

    fn name_tenants(&self, goes_on: &dyn Fn() -> bool) -> Result<()> {
        let mut http = Http::open(self.to, ATTACKERS)?;
        let more = "Content-Type: application/json\r\n";
        while goes_on() {
            let path = format!("/v1/metrics?tenant=t{}", unique());
            http.ask(&head("POST", &path, None, more, 0), b"")?;
        }
        Ok(())
    }

    fn log_in(&self, goes_on: &dyn Fn() -> bool) -> Result<()> {
        let mut http = Http::open(self.to, ATTACKERS)?;
        let more = "Content-Type: application/json\r\n";
        for token in [token::ATTACKING_NOBODY, token::ATTACKING_WRITER]
            .into_iter()
            .cycle()
        {
            if !goes_on() {
                break;
            }
            let body = json!({ "token": token }).to_string();
            let head = head("POST", "/api/login", None, more, body.len());
            http.ask(&head, body.as_bytes())?;
        }
        Ok(())
    }

    fn join_rooms(&self, goes_on: &dyn Fn() -> bool) -> Result<()> {
        let mut chat = web_socket(self.to, ATTACKERS, "/ws/chat", None, None)?;
        let mut rooms = web_socket(self.to, ATTACKERS, "/ws", None, None)?;
        while goes_on() {
            // Below the rate at which a client is sent away.
            for _ in 0..40 {
                let number = unique();
                let join = json!({ "type": "join_room", "room": format!("r{number}") });
                say(&mut chat, join.to_string())?;
                if number.is_multiple_of(8) {
                    let selector = format!("z{number}");
                    for action in ["watch", "unwatch"] {
                        let message = json!({ "action": action, "match": selector });
                        say(&mut rooms, message.to_string())?;
                    }
                }
            }
            drain(&mut chat)?;
            drain(&mut rooms)?;
            thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    fn send_packed(&self, number: usize) -> Result<()> {
        // 32 KB that become 32 MB: of nothing but mistakes, or of samples.
        let line: &[u8] = if number.is_multiple_of(2) {
            b"!\n"
        } else {
            b"a 1\n"
        };
        let mut packed = GzEncoder::new(Vec::new(), Compression::best());
        packed.write_all(&line.repeat((32 << 20) / line.len() - 1))?;
        let packed = packed.finish()?;
        let token = Some(token::ATTACKING_WRITER);
        let head = head(
            "POST",
            "/push",
            token,
            "Content-Encoding: gzip\r\n",
            packed.len(),
        );
        Http::open(self.to, ATTACKERS)?.ask(&head, &packed)?;
        Ok(())
    }

    fn connect_without_end(&self, goes_on: &dyn Fn() -> bool) {
        let mut held: Vec<TcpStream> = Vec::new();
        while goes_on() {
            match connect(self.to, ATTACKERS, Some(SMALL_BUFFER)) {
                Ok(mut stream) => {
                    let ask = head("GET", "/events/alerts", None, "", 0);
                    // Every other one says nothing.
                    if held.len().is_multiple_of(2) && stream.write_all(ask.as_bytes()).is_err() {
                        continue;
                    }
                    held.push(stream);
                }
                Err(_) => thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    fn send_slowly(&self, goes_on: &dyn Fn() -> bool) -> Result<()> {
        let mut stream = connect(self.to, ATTACKERS, None)?;
        let token = Some(token::ATTACKING_WRITER);
        stream.write_all(head("POST", "/push", token, "", 30 << 20).as_bytes())?;
        // As much as a body may have, but for its end.
        let piece = vec![b'#'; 1 << 20];
        for _ in 0..29 {
            stream.write_all(&piece)?;
        }
        while goes_on() {
            stream.write_all(b"#")?;
            thread::sleep(Duration::from_millis(500));
        }
        Ok(())
    }
}

/// One that tests every series for long and matches none, and is equal to no other.
fn slow_selector(number: usize) -> String {
    let patterns: Vec<_> = (0..30)
        .map(|index| format!("p=~\".*a.{{{}}}.*z{number}\"", 100 + index))
        .collect();
    format!("{{{}}}", patterns.join(","))
}

/// Reads what has come.
fn drain(socket: &mut tungstenite::WebSocket<TcpStream>) -> Result<()> {
    let moment = Some(Duration::from_millis(1));
    socket.get_ref().set_read_timeout(moment)?;
    loop {
        match socket.read() {
            Ok(_) => {}
            Err(tungstenite::Error::Io(error))
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                ) =>
            {
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// For a query.
fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => encoded.push(char::from(byte)),
            b' ' => encoded.push('+'),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_survives_a_query() {
        assert_eq!(encoded("{a=~\"b c\"}"), "%7Ba%3D%7E%22b+c%22%7D");
        assert_ne!(slow_selector(1), slow_selector(2));
    }
}
