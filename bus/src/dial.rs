//! One connection to one server: made, greeted, and what is asked of it.

use std::{sync::Arc, time::Duration};

use pulseboard_outbound::{Guard, Secret, config::TlsConfig, plain::Plain};
use redis::{
    AsyncConnectionConfig, Cmd, Pipeline, ProtocolVersion, PushInfo, PushKind, RedisConnectionInfo,
    Value, aio::MultiplexedConnection,
};
use tokio::{sync::mpsc, task::JoinSet, time::timeout};

use crate::{
    error::{self, BusError, ConnectError, Unfit},
    scripts,
    settings::{Server, Settings},
};

/// A server that has not answered for so long is not there.
pub(crate) const ANSWER: Duration = Duration::from_millis(500);
/// From a name to a connection that has been greeted.
const CONNECT: Duration = Duration::from_secs(2);

/// A connection; clones share it.
#[derive(Clone)]
pub(crate) struct Connection {
    commands: MultiplexedConnection,
}

/// What hears messages: [`mpsc::Sender`] that is asked before it is full.
pub(crate) type Push = Arc<dyn Fn(PushInfo) + Send + Sync>;

/// What a connection is for.
pub(crate) enum Purpose {
    /// Commands.
    Ask,
    /// Messages, too.
    Hear(Push),
    /// A sentinel, which has no password.
    Sentinel,
}

/// Connects, and has `tasks` drive the connection for as long as they live.
pub(crate) async fn connect(
    settings: &Settings,
    server: &Server,
    purpose: Purpose,
    tasks: &mut JoinSet<()>,
) -> Result<Connection, ConnectError> {
    let away = |why: String| BusError::away(format!("{server}: {why}"));
    match timeout(CONNECT, greet(settings, server, purpose, tasks)).await {
        Ok(connected) => connected,
        Err(_) => Err(away("no answer within 2 s".to_owned()).into()),
    }
}

async fn greet(
    settings: &Settings,
    server: &Server,
    purpose: Purpose,
    tasks: &mut JoinSet<()>,
) -> Result<Connection, ConnectError> {
    let away = |why: String| BusError::away(format!("{server}: {why}"));
    let guard = Guard {
        allow_private: true,
    };
    let mut stream = Plain::connect(&server.host, server.port, guard)
        .await
        .map_err(|error| away(error.to_string()))?;
    if settings.address.tls {
        let config = TlsConfig {
            ca_file: settings.ca_file.clone(),
            ..TlsConfig::default()
        };
        let secured = stream.secure(&server.host, &config).await;
        stream = secured.map_err(|error| away(error.to_string()))?;
    }
    let mut info = RedisConnectionInfo::default()
        .set_protocol(ProtocolVersion::RESP3)
        .set_skip_set_lib_name();
    if !matches!(purpose, Purpose::Sentinel) {
        if let Some(username) = &settings.address.username {
            info = info.set_username(username);
        }
        if let Some(password) = settings.password().map(Secret::reveal) {
            info = info.set_password(password);
        }
    }
    let mut config = AsyncConnectionConfig::new().set_response_timeout(Some(ANSWER));
    if let Purpose::Hear(push) = purpose {
        let heard = move |message| {
            push(message);
            Ok::<(), std::convert::Infallible>(())
        };
        config = config.set_push_sender(heard);
    }
    let greeted = MultiplexedConnection::new_with_config(&info, stream, config).await;
    let (commands, driver) = greeted.map_err(|error| match error::of_connection(&error) {
        BusError::Away(why) if error.kind() != redis::ErrorKind::AuthenticationFailed => {
            ConnectError::Away(away(why.to_string()))
        }
        why => ConnectError::Unfit(Unfit::Denied {
            server: server.to_string(),
            why: why.to_string(),
        }),
    })?;
    tasks.spawn(driver);
    Ok(Connection { commands })
}

impl Connection {
    /// The answers to commands that are sent at once; each may be an error of the server's.
    ///
    /// # Errors
    /// There is no answer, or none that can be read: the connection is of no use any more.
    pub(crate) async fn all(&self, commands: Vec<Cmd>) -> Result<Vec<Value>, BusError> {
        let count = commands.len();
        let mut pipeline = Pipeline::with_capacity(count);
        for command in commands {
            pipeline.add_command(command);
        }
        let mut connection = self.commands.clone();
        let answers = connection.send_packed_commands(&pipeline, 0, count).await;
        let answers = answers.map_err(|error| error::of_connection(&error))?;
        match answers.len() == count {
            true => Ok(answers),
            false => Err(BusError::Odd("a pipeline")),
        }
    }

    /// The answer to one command.
    ///
    /// # Errors
    /// There is none, or the server refuses.
    pub(crate) async fn one(&self, command: Cmd) -> Result<Value, BusError> {
        match self.raw(command.clone()).await? {
            Value::ServerError(error) if error::is_unknown_script(&error) => {
                self.load_scripts().await?;
                match self.raw(command).await? {
                    Value::ServerError(error) => Err(error::of_server(&error)),
                    value => Ok(value),
                }
            }
            Value::ServerError(error) => Err(error::of_server(&error)),
            value => Ok(value),
        }
    }

    async fn raw(&self, command: Cmd) -> Result<Value, BusError> {
        let mut answers = self.all(vec![command]).await?;
        answers.pop().ok_or(BusError::Odd("a command"))
    }

    /// Has the server know all scripts.
    ///
    /// # Errors
    /// It does not answer, or refuses them.
    pub(crate) async fn load_scripts(&self) -> Result<(), BusError> {
        for answer in self.all(scripts::load()).await? {
            if let Value::ServerError(error) = answer {
                return Err(error::of_server(&error));
            }
        }
        Ok(())
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

/// Messages that wait to be looked at: bounded, and `full` is told of each for which there is no
/// room.
pub(crate) fn pushes(
    room: usize,
    full: impl Fn() + Send + Sync + 'static,
) -> (Push, mpsc::Receiver<PushInfo>) {
    let (sender, receiver) = mpsc::channel(room);
    let push = move |message: PushInfo| {
        // What answers us is answered; only what comes by itself is heard.
        let is_heard = matches!(
            message.kind,
            PushKind::SMessage | PushKind::SUnsubscribe | PushKind::Disconnection
        );
        if !is_heard {
            return;
        }
        if let Err(mpsc::error::TrySendError::Full(_)) = sender.try_send(message) {
            full();
        }
    };
    (Arc::new(push), receiver)
}
