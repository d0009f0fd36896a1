//! The tokens of all servers: a table in Redis, of which each has a copy in memory and in its file.
//!
//! A token is made, then withdrawn, and never comes back; so whatever is lost or comes late, a
//! withdrawal that anybody knows holds. A server that joins takes what the table has; what its file
//! has beside that is no token any more, unless nothing was ever in the table: then the service is
//! new, and begins with what that file has. What the table had and has no longer (a failover, a
//! Redis that lost its data) is put back by those who have it in memory.

use std::{collections::HashMap, sync::Arc};

use http::StatusCode;
use pulseboard_bus::{BusError, Put, Table};
use tokio::sync::Mutex;

use super::{
    asking::{Asking, unavailable},
    news,
};
use crate::{
    access::{
        held::Held,
        secret::Digest,
        token::{
            Entry, GONE_MAX, Grant, MADE_MAX, MakeError, Record, TokenId, TokenSource, Tokens,
            Withdrawn,
        },
    },
    base::{error::AppError, json::json_text},
    cluster::within,
};

/// Whose table, and which.
const TOKENS: (&str, &str) = ("", "tokens");
/// Entries: those that are valid, those that are remembered as withdrawn, and as many of the
/// settings' again.
const ENTRIES_MAX: usize = 2 * (MADE_MAX + GONE_MAX);
/// How often a change is tried that others come before.
const TRIES: usize = 5;

/// This server's copy.
#[derive(Debug)]
pub struct TokenTable {
    asking: Asking,
    held: Arc<Held>,
    /// Held while the table is read or changed.
    known: Mutex<Known>,
}

/// What is known of the table.
#[derive(Debug, Default)]
struct Known {
    revision: u64,
    /// See [`Asking::epoch`].
    epoch: u64,
    /// This process has agreed with the others.
    has_joined: bool,
}

impl TokenTable {
    /// Nothing is read yet.
    #[must_use]
    pub fn new(asking: Asking, held: Arc<Held>) -> Self {
        Self {
            asking,
            held,
            known: Mutex::default(),
        }
    }

    /// Takes in what the others have changed. `anew`: also where nothing seems to be changed.
    ///
    /// # Errors
    /// They are away.
    pub async fn follow(&self, anew: bool) -> Result<(), BusError> {
        let mut known = self.known.lock().await;
        self.read(&mut known, anew).await
    }

    async fn read(&self, known: &mut Known, anew: bool) -> Result<(), BusError> {
        let common = self.asking.common()?;
        let epoch = self.asking.epoch();
        if !anew && known.has_joined && known.epoch == epoch {
            let revision = within(common.table_revision(TOKENS.0, TOKENS.1)).await?;
            if revision == known.revision {
                return Ok(());
            }
        }
        for _ in 0..TRIES {
            let table = within(common.table(TOKENS.0, TOKENS.1)).await?;
            let now_ms = self.held.clock.now_ms();
            if table.revision == 0 {
                let own = self.held.tokens.records(now_ms);
                let own: Vec<(String, Vec<u8>)> = own.iter().map(written).collect();
                if within(common.begin_table(TOKENS, &own)).await? && !own.is_empty() {
                    tracing::info!(
                        tokens = own.len(),
                        "the service is new; it begins with the tokens of this server"
                    );
                }
                continue;
            }
            let merged = self
                .held
                .tokens
                .merge(&read(&table), known.has_joined, now_ms);
            if merged.dropped > 0 {
                tracing::warn!(
                    tokens = merged.dropped,
                    "tokens of this server's file are none of the service's and are valid no longer"
                );
            }
            self.apply(&merged.ended, merged.changed).await;
            for one in &merged.put {
                let (digest, text) = written(one);
                let put = common.put_entry(TOKENS, &digest, Some(&text), None, ENTRIES_MAX);
                within(put).await?;
            }
            (known.revision, known.epoch, known.has_joined) = (table.revision, epoch, true);
            if merged.put.is_empty() {
                return Ok(());
            }
            news::tell_tokens(&self.asking);
        }
        Ok(())
    }

    /// Ends what is over, and keeps what has changed.
    async fn apply(&self, ended: &[TokenId], changed: bool) {
        for id in ended {
            let streams = self.held.end_token(*id);
            tracing::info!(token.id = %id, streams.ended = streams, "token {id} is withdrawn elsewhere");
        }
        if !changed {
            return;
        }
        self.held.look_for_bound();
        self.store().await;
    }

    /// What all servers know outlives a restart without this server's file, too.
    async fn store(&self) {
        let held = Arc::clone(&self.held);
        let stored = tokio::task::spawn_blocking(move || held.tokens.store()).await;
        match stored {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::error!(%error, "the tokens of all servers could not be stored here");
            }
            Err(error) => tracing::error!(%error, "storing tokens broke off"),
        }
    }

    /// Makes a token that all servers know.
    ///
    /// # Errors
    /// 409 when there are too many; 503 where the others cannot be reached. It may be there then,
    /// with a secret that nobody was told.
    pub async fn make(&self, grant: Grant) -> Result<(TokenId, String), AppError> {
        const WHAT: &str = "no token can be made";
        let (entry, secret) = Tokens::prepare(grant).map_err(|error| {
            tracing::error!(%error, "the system gave no random numbers");
            AppError::internal()
        })?;
        let record = Record::Made {
            grant: entry.grant.clone(),
            made_ms: self.held.clock.now_ms(),
        };
        let check = |tokens: &Tokens| match tokens.made() < MADE_MAX {
            true => Ok((*entry.digest(), record.clone())),
            false => Err(too_many()),
        };
        self.change(WHAT, check).await?;
        Ok((entry.id, secret))
    }

    /// Withdraws a token on all servers; `may` says whether the caller sees it.
    ///
    /// # Errors
    /// 404 and 409 as on one server; 503 where the others cannot be reached. It may be withdrawn
    /// then.
    pub async fn withdraw(
        &self,
        id: TokenId,
        force: bool,
        may: impl Fn(&Entry) -> bool,
        refused: impl Fn(Withdrawn) -> AppError,
    ) -> Result<(), AppError> {
        const WHAT: &str = "no token can be withdrawn";
        let at_ms = self.held.clock.now_ms();
        let check = |tokens: &Tokens| {
            let entry = tokens.to_withdraw(id, force, &may);
            let entry = entry.map_err(&refused)?;
            let settings = entry.source == TokenSource::Settings;
            Ok((*entry.digest(), Record::Withdrawn { at_ms, settings }))
        };
        self.change(WHAT, check).await
    }

    /// Makes one change of the table as it is: where somebody else has changed it, `check` looks
    /// again.
    async fn change(
        &self,
        what: &str,
        check: impl Fn(&Tokens) -> Result<(Digest, Record), AppError>,
    ) -> Result<(), AppError> {
        let away = |error: BusError| unavailable(what, &error);
        let mut known = self.known.lock().await;
        self.read(&mut known, false).await.map_err(away)?;
        for _ in 0..TRIES {
            let change = check(&self.held.tokens)?;
            let (digest, text) = written(&change);
            let common = self.asking.common().map_err(away)?;
            let read = Some(known.revision);
            let put = common.put_entry(TOKENS, &digest, Some(&text), read, ENTRIES_MAX);
            match within(put).await.map_err(away)? {
                Put::Done(revision) => {
                    known.revision = revision;
                    let merged = self.held.tokens.take_in(&change.0, &change.1);
                    self.apply(&merged.ended, true).await;
                    self.forget_oldest(&mut known).await;
                    news::tell_tokens(&self.asking);
                    return Ok(());
                }
                Put::Other(_) => self.read(&mut known, true).await.map_err(away)?,
                Put::Full => return Err(too_many()),
            }
        }
        Err(unavailable(
            what,
            &BusError::Away("others change tokens all the time".into()),
        ))
    }

    async fn forget_oldest(&self, known: &mut Known) {
        for digest in self.held.tokens.forget_oldest() {
            let digest = String::from(digest);
            let Ok(common) = self.asking.common() else {
                return;
            };
            let put = common.put_entry(TOKENS, &digest, None, None, ENTRIES_MAX);
            if let Ok(Put::Done(revision)) = within(put).await {
                known.revision = revision;
            }
        }
    }
}

fn too_many() -> AppError {
    AppError::new(StatusCode::CONFLICT, MakeError::TooMany.to_string())
}

fn written((digest, record): &(Digest, Record)) -> (String, Vec<u8>) {
    (String::from(*digest), json_text(record).into_bytes())
}

/// What cannot be read is of a later version: it is let be.
fn read(table: &Table) -> HashMap<Digest, Record> {
    let entries = table.entries.iter();
    entries
        .filter_map(|(digest, text)| {
            let record = serde_json::from_slice(text).ok()?;
            Some((digest.parse().ok()?, record))
        })
        .collect()
}
