//! Prometheus' HTTP API below `/api/v1`.
//!
//! | file | what it answers |
//! |---|---|
//! | [`query`] | `query`, `query_range`, `query_exemplars`, `format_query`, `parse_query` |
//! | [`labels`] | `series`, `labels`, `label/NAME/values`, `metadata` |
//! | [`export`] | `export` |
//! | [`federate`] | `/federate` |
//! | [`admin`] | `admin/tsdb/…` |
//! | [`rules`] | `rules` and `alerts` |
//! | [`read`] | remote read |
//! | [`targets`] | `targets`, `targets/metadata`, `scrape_pools`, `alertmanagers` |
//! | [`reload`] | `/-/reload` |
//! | [`status`] | `status/…`, `/-/healthy`, `/-/ready` |
//! | `asking` | who asks, and how a question is worked on |
//! | `matching` | selectors over labels of targets and rules |
//! | `outside` | `external_labels`, which series have elsewhere |
//! | `families` | which metric a series is a part of |
//! | `params` | what a query string or a form asks for |
//! | `multipart` | the fields of a form of several parts |
//! | `answer` | the envelope of all answers, and errors in the words of clients |

pub mod admin;
mod answer;
mod asking;
pub mod export;
mod families;
pub mod federate;
pub mod labels;
mod matching;
mod multipart;
mod outside;
mod params;
pub mod query;
pub mod read;
pub mod reload;
pub mod rules;
pub mod status;
pub mod targets;
