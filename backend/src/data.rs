//! `pulseboard export`, `import`, `backup`, `restore` and `ready`: the same binary beside a server,
//! or in its place.
//!
//! | file | what it is |
//! |---|---|
//! | `asked` | the server that is asked |
//! | `transfer` | series out and in |
//! | `archive` | a folder as one file |
//! | `backup` | all that is kept, out and back |

mod archive;
mod asked;
mod backup;
mod transfer;

use std::process::ExitCode;

use pulseboard::settings::{DataCommand, Settings};

use crate::process::{complain, refuse, say};

/// Does what was asked for.
pub(crate) fn start(settings: &Settings, command: DataCommand) -> ExitCode {
    #[cfg(unix)]
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return refuse(&format!("the runtime cannot start: {error}")),
    };
    let done = runtime.block_on(async {
        match command {
            DataCommand::Export {
                from,
                selectors,
                start,
                end,
                format,
                output,
            } => {
                let mut query: Vec<(&str, &str)> = vec![("format", &format)];
                let all = [transfer::ALL.to_owned()];
                let selectors = if selectors.is_empty() {
                    &all[..]
                } else {
                    &selectors[..]
                };
                query.extend(selectors.iter().map(|one| ("match[]", one.as_str())));
                query.extend(start.iter().map(|time| ("start", time.as_str())));
                query.extend(end.iter().map(|time| ("end", time.as_str())));
                let done = transfer::export(settings, &from, &query, output.as_deref()).await;
                done.map(whole)
            }
            DataCommand::Import { to, file } => {
                transfer::import(settings, &to, file.as_deref()).await
            }
            DataCommand::Backup { from, to } => {
                backup::backup(settings, &from, &to).await.map(whole)
            }
            DataCommand::Ready { asked } => {
                let ready = async {
                    asked::Asked::new(settings, &asked)?.is_ready().await?;
                    Ok("ready\n".to_owned())
                };
                ready.await.map(whole)
            }
            DataCommand::Restore { from } => backup::restore(settings, &from).map(whole),
        }
    });
    match done {
        Ok((said, complaint)) => {
            let done = say(&said);
            complaint.map_or(done, |complaint| complain(&complaint))
        }
        Err(why) => refuse(&why),
    }
}

/// What was done, and nothing to complain of.
fn whole(said: String) -> (String, Option<String>) {
    (said, None)
}
