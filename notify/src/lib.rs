//! What stands between an alert and its receivers: routes, groups and their waits, silences,
//! inhibition, times. Pure: no clock, no I/O, no threads; times are the caller's, Unix ms.
//!
//! # How it is driven
//! One [`Manager`] is one tenant's Alertmanager. Its owner has one task that does three things:
//!
//! 1. Whatever happens goes into [`Manager::handle`]: alerts that were posted or that rules gave
//!    ([`Input::Alerts`]), what became of a delivery ([`Input::Sent`], [`Input::Failed`]), or that
//!    time has passed ([`Input::Tick`]).
//! 2. The [`Action`]s that come back are carried out in their order. [`Action::Notify`] goes into
//!    the outbox, on disk before anything else; [`Action::NotSent`] into the incident's timeline.
//!    Each `Notify` is answered by exactly one `Sent` or `Failed` with its key, however late: until
//!    then nothing more goes to that way about that group, which is what keeps a resolved one behind
//!    its firing.
//! 3. It sleeps until [`Manager::next_due_ms`] and says [`Input::Tick`].
//!
//! Silences, acknowledgements and maintenance windows are methods ([`Manager::set_silence`],
//! [`Manager::expire_silence`], [`Manager::acknowledge`], [`Manager::set_window`] …); they change
//! what the next flush does and cause no action by themselves. What `/api/v2` answers are methods
//! that only read ([`Manager::alerts`], [`Manager::groups`], [`Manager::silences`],
//! [`Manager::receivers`], [`api::AlertmanagerStatus`]).
//!
//! [`Manager::keep`] gives the state for a document, [`Manager::restore`] goes on with it. The key
//! of a notification is made of what it says and of what was said before, so a flush that is done
//! again after a kill gives the same key. After a restore the owner compares
//! [`Manager::in_flight`] with its outbox and says `Failed` for each key that is not there.
//!
//! [`Manager::set_config`] takes another configuration: groups are made again from the alerts, as
//! Alertmanager does, and the notification log stays.
//!
//! # Signatures
//! ```text
//! config::Config::parse(text: &str, file: &str, max: ConfigLimits) -> Result<Config, ConfigError{ file, line: Option<(usize,usize)>, what }>
//! config::Config::{to_yaml() /* without secrets */, warnings() -> Vec<String>, receivers: Vec<receivers::config::Receiver>, templates: Vec<String>, …}
//!
//! Manager::new(tenant: Arc<str>, config: Arc<Config>, options: Options) -> Manager
//! Manager::restore(tenant, config, options, keep: Keep, now_ms) -> Manager
//! Manager::keep(&self) -> Keep                                  // serde
//! Manager::set_config(&mut self, now_ms, Arc<Config>) -> Vec<Action>
//! Manager::handle(&mut self, now_ms: i64, input: Input) -> Vec<Action>
//! Manager::next_due_ms(&self) -> Option<i64>
//! Manager::in_flight(&self) -> Vec<String>                      // keys without an answer yet
//!
//! enum Input { Tick, Alerts(Vec<PostedAlert>), Sent { key }, Failed { key } }
//! struct PostedAlert { labels, annotations: Labels, starts_at_ms, ends_at_ms: Option<i64>, generator_url: String }
//! enum Action { Notify(Box<Delivery>), NotSent(NotSent), Refused(Refused{ labels, why }), AckEnded(Ack), Forgotten(Fingerprint) }
//! struct Delivery { way: Way, notification: receivers::Notification, cause: Cause }
//! struct Way { receiver: String, kind: String /* "webhook" */, index: usize /* within its kind, as Alertmanager numbers them */ }
//! struct NotSent { at_ms, fingerprint, receiver: String, group_key: String, reason: Reason, again: bool /* the same reason as at the flush before */ }
//!
//! Manager::alerts(&self, now_ms, &AlertFilter) -> Vec<api::GettableAlert>
//! Manager::groups(&self, now_ms, &AlertFilter) -> Vec<api::AlertGroup>
//! Manager::receivers(&self) -> Vec<api::Receiver>
//! AlertFilter::parse(pairs: impl Iterator<(name, value)>) -> Result<AlertFilter, String /* a 400's JSON string */>
//! api::AlertmanagerStatus::new(config: &Config, version: VersionInfo, started_ms)
//! Manager::silences(&self, now_ms, &[Matcher]) -> Vec<api::GettableSilence>
//! Manager::silence(&self, now_ms, id: &str) -> Option<api::GettableSilence>
//! Manager::set_silence(&mut self, now_ms, api::PostableSilence, new_id: String) -> Result<String, SilenceError>
//! Manager::expire_silence(&mut self, now_ms, id: &str) -> Result<(), SilenceError>
//! Manager::acknowledge(&mut self, now_ms, Ack{ fingerprint, by, comment, at_ms, until_ms }) -> Result<(), AckError>
//! Manager::unacknowledge(&mut self, Fingerprint) -> Option<Ack>;  acks(&self) -> impl Iterator<&Ack>
//! Manager::set_window(&mut self, Window{ id, name, matchers, intervals, created_by, comment, until_ms }) -> Result<(), String>
//! Manager::remove_window(&mut self, id) -> bool;  windows(&self) -> impl Iterator<&Window>
//! ```

mod labels;

pub mod matcher;

pub use labels::Fingerprint;
