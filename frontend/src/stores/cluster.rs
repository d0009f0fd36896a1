//! The servers that are one service, as `GET /api/cluster` tells of them.

use super::hosts::Trouble;
use crate::{format, net::json::Json};

/// The service.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cluster {
    /// There is one server, and it is not meant to have others.
    pub is_single: bool,
    /// Since when the server that answers cannot reach the others; `None` where it can.
    pub alone_since_ms: Option<i64>,
    /// Why it cannot.
    pub reason: String,
    /// How often what Redis holds was gone on with by another lineage of it.
    pub generation: f64,
    /// Those that live.
    pub members: Vec<Member>,
}

/// One server.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Member {
    /// What it is called.
    pub instance: String,
    /// Names this run of it.
    pub id: String,
    /// Where it is reached.
    pub address: String,
    /// Its version.
    pub version: String,
    /// Streams that are open there.
    pub viewers: f64,
    /// How long a message to itself takes.
    pub lag_ms: f64,
    /// Whether viewers are sent there.
    pub is_ready: bool,
    /// It is the one that answers.
    pub is_this: bool,
    /// What it does for all, in words; empty where that is nothing.
    pub holds: String,
}

/// Reads an answer.
#[must_use]
pub fn read(answer: &Json) -> Cluster {
    let members = answer.get("members").list().iter();
    Cluster {
        is_single: answer.text_of("mode") == "single",
        alone_since_ms: answer.get("alone_since_ms").moment(),
        reason: answer.text_of("reason").to_owned(),
        generation: answer.get("generation").figure(),
        members: members.map(member).collect(),
    }
}

fn member(json: &Json) -> Member {
    let is = |name: &str| *json.get(name) == Json::Bool(true);
    let leases = json.get("leases").entries().iter();
    // Whoever holds one of a kind of which there is one holds all of it.
    let leases = leases.map(|(work, count)| match count.figure() == 1.0 {
        true => work.clone(),
        false => [work.as_str(), " ", &format::plain(count.figure())].concat(),
    });
    Member {
        instance: json.text_of("instance").to_owned(),
        id: json.text_of("id").to_owned(),
        address: json.text_of("address").to_owned(),
        version: json.text_of("version").to_owned(),
        viewers: json.get("viewers").figure(),
        lag_ms: json.get("lag_ms").figure(),
        is_ready: is("ready"),
        is_this: is("this"),
        holds: leases.collect::<Vec<_>>().join(", "),
    }
}

impl Member {
    /// How it stands, in a word and as bad as it is.
    #[must_use]
    pub fn state(&self) -> (Trouble, &'static str) {
        match self.is_ready {
            true => (Trouble::None, "ready"),
            false => (Trouble::Warning, "not ready"),
        }
    }
}

impl Cluster {
    /// How many there are and how they stand.
    #[must_use]
    pub fn summary(&self) -> String {
        if self.is_single {
            return "one server, without others".to_owned();
        }
        let all = format::count(self.members.len() as u64, "server", "servers");
        let unready = self.members.iter().filter(|member| !member.is_ready);
        match unready.count() {
            0 => all,
            unready => format!("{all}, {unready} not ready"),
        }
    }
}

/// How a server stands to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// There are none.
    Single,
    /// It is one of several.
    Joined,
    /// It has not reached them since then, in Unix milliseconds.
    Alone(i64),
}

/// How the server stands that answered `GET /readyz` with this.
#[must_use]
pub fn standing(readiness: &Json) -> Standing {
    match readiness.get("cluster") {
        Json::Null => Standing::Single,
        cluster => match cluster.get("alone_since_ms").moment() {
            Some(since_ms) => Standing::Alone(since_ms),
            None => Standing::Joined,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Json {
        Json::parse(text).expect("JSON")
    }

    #[test]
    fn says_who_is_there_and_what_each_does() {
        let cluster = read(&json(
            r#"{"instance":"a","mode":"replicated","state":"joined","generation":2,"members":[
                {"instance":"a","id":"a.1","address":"http://a","version":"0.1.0","bus":[1,1],
                 "viewers":7,"joined_ms":5,"lag_ms":0.25,"ready":true,"this":true,
                 "leases":{"rules":22,"sim":1}},
                {"instance":"b","id":"b.1","address":"http://b","version":"0.1.0","bus":[1,1],
                 "viewers":0,"joined_ms":6,"lag_ms":0.5,"ready":false,"this":false}]}"#,
        ));
        assert_eq!(cluster.summary(), "2 servers, 1 not ready");
        let holds: Vec<&str> = cluster
            .members
            .iter()
            .map(|member| &*member.holds)
            .collect();
        assert_eq!(holds, ["rules 22, sim", ""]);
        assert!(cluster.members[0].is_this && !cluster.members[1].is_this);
        assert_eq!(cluster.members[1].state(), (Trouble::Warning, "not ready"));
        assert_eq!((cluster.generation, cluster.alone_since_ms), (2.0, None));
        let single = read(&json(r#"{"mode":"single","members":[{"instance":"a"}]}"#));
        assert_eq!(single.summary(), "one server, without others");
    }

    #[test]
    fn who_is_alone_says_since_when() {
        let of = |text: &str| standing(&json(text));
        assert_eq!(of(r#"{"ready":true}"#), Standing::Single);
        let joined = r#"{"cluster":{"state":"joined","members":3}}"#;
        assert_eq!(of(joined), Standing::Joined);
        let alone = r#"{"cluster":{"state":"alone","members":1,"alone_since_ms":1795878009000}}"#;
        assert_eq!(of(alone), Standing::Alone(1_795_878_009_000));
    }
}
