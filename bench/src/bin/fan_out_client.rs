//! The load client: opens viewers, counts what reaches them and when, and reads the server's
//! processor time and memory at the same moments. Prints one JSON object.
//!
//! One thread waits with epoll and reads into one buffer, so that the client is never what is
//! measured. Phases, each between two readings of the server: open, idle, frames.
#![expect(
    clippy::print_stdout,
    reason = "a command line tool talks on standard output"
)]

#[cfg(target_os = "linux")]
fn main() -> anyhow::Result<()> {
    let report = linux::run(<linux::Arguments as clap::Parser>::parse())?;
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("the load client reads /proc and waits with epoll: it runs on Linux only");
}

#[cfg(target_os = "linux")]
mod linux {
    use std::{
        io::{ErrorKind, Read, Write},
        net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
        time::{Duration, Instant},
    };

    use anyhow::{Context, Result, bail};
    use clap::Parser;
    use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
    use pulseboard_bench::{
        Transport,
        latency::{Arrivals, Summary},
        now_us,
        process::{Server, kernel_tcp_bytes},
        wire::{self, Found},
    };
    use serde::Serialize;
    use socket2::{Domain, Socket, Type};

    /// Handshakes under way at once; below every peer's backlog.
    const OPENING_MAX: usize = 256;
    /// All viewers are open within this time, or the server is given up: one that is behind with
    /// its frames may come to no further handshake ever.
    const OPENING_PATIENCE: Duration = Duration::from_secs(60);
    /// Connections of one source address; the kernel has about 28 000 ports for each.
    const PER_ADDRESS_MAX: usize = 20_000;
    /// Events taken at a time.
    const EVENTS_MAX: usize = 512;
    /// Larger than any snapshot.
    const READ_BYTES: usize = 256 * 1024;
    /// Receive buffer of a viewer that never reads: the least that the kernel gives.
    const FROZEN_RECEIVE_BYTES: usize = 2_304;
    /// Nobody received anything for this long: between two frames.
    const QUIET: Duration = Duration::from_millis(4);
    /// How long to wait for such a moment; under full load there is none.
    const QUIET_PATIENCE: Duration = Duration::from_millis(1_200);
    /// Readings of memory while frames flow.
    const MEMORY_READINGS: u32 = 20;
    /// The publisher's connection among the viewers.
    const PUBLISHER: u64 = u64::MAX;

    #[derive(Parser)]
    pub(super) struct Arguments {
        /// The server
        #[arg(long)]
        address: SocketAddr,
        /// What to open on it
        #[arg(long)]
        path: String,
        /// How to watch
        #[arg(long)]
        transport: Transport,
        /// How many watch
        #[arg(long)]
        viewers: usize,
        /// How many of them never read
        #[arg(long, default_value_t = 0)]
        frozen: usize,
        /// How long frames are measured, in seconds
        #[arg(long, default_value_t = 5.0)]
        seconds: f64,
        /// How long to wait after opening before anything is measured, in seconds
        #[arg(long, default_value_t = 1.0)]
        settle: f64,
        /// Connections opened a second at most; 0 is as many as go
        #[arg(long, default_value_t = 0)]
        open_rate: usize,
        /// The server's process
        #[arg(long)]
        pid: u32,
        /// Where to publish, for servers that do not make frames themselves
        #[arg(long)]
        publish: Option<String>,
        /// Frames published a second
        #[arg(long, default_value_t = 1.0)]
        rate: f64,
        /// Bytes of a published payload
        #[arg(long, default_value_t = 400)]
        bytes: usize,
        /// Publish as a typed event of a room, which is how Pulseboard takes them
        #[arg(long)]
        room_event: bool,
    }

    /// What was measured.
    #[derive(Serialize)]
    pub(super) struct Report {
        viewers: usize,
        frozen: usize,
        open_cpu_us_per_viewer: f64,
        open_wall_us_per_viewer: f64,
        /// Of all processes, resident, over that without viewers.
        idle_bytes_per_viewer: f64,
        seconds: f64,
        deliveries: u64,
        /// Different frames that anybody saw.
        frames: u64,
        /// Of frames times reading viewers.
        delivered_share: f64,
        bytes_per_delivery: f64,
        server_cpu_us_per_delivery: f64,
        /// Of one core.
        server_cpu_share: f64,
        client_cpu_share: f64,
        /// Since sending.
        latency: Summary,
        /// Since the first viewer had the same frame.
        spread: Summary,
        /// Growth of process memory, and of what the kernel holds for all sockets of the machine,
        /// while frames flowed.
        grown_process_bytes: f64,
        grown_kernel_bytes: f64,
        /// From idle on, evenly over the time that frames were measured.
        memory: Vec<Memory>,
        lost: usize,
    }

    /// What is held at a moment.
    #[derive(Clone, Copy, Serialize)]
    pub(super) struct Memory {
        seconds: f64,
        process_bytes: u64,
        kernel_bytes: u64,
    }

    struct Viewer {
        stream: TcpStream,
        open: bool,
        frozen: bool,
        /// The beginning of a frame whose end has not come.
        pending: Vec<u8>,
    }

    struct Client {
        arguments: Arguments,
        epoll: Epoll,
        viewers: Vec<Option<Viewer>>,
        publisher: Option<Publisher>,
        buffer: Vec<u8>,
        opened: usize,
        lost: usize,
        bytes: u64,
        measuring: Option<Arrivals>,
        last_arrival: Instant,
    }

    struct Publisher {
        stream: TcpStream,
        due: Instant,
        /// The next frame waits for the answer to the last one.
        answered: bool,
    }

    pub(super) fn run(arguments: Arguments) -> Result<Report> {
        let server = Server::new(arguments.pid);
        let client_process = Server::new(std::process::id());
        let (viewers, frozen) = (arguments.viewers, arguments.frozen);
        let (settle, seconds) = (
            Duration::from_secs_f64(arguments.settle),
            Duration::from_secs_f64(arguments.seconds),
        );
        let mut client = Client::new(arguments)?;

        let process_before = server.resident_bytes();
        let (cpu_before, started) = (server.cpu_us(), Instant::now());
        client.open_all()?;
        let open_cpu_us = server.cpu_us() - cpu_before;
        let open_wall = started.elapsed();

        client.start_publishing()?;
        client.run_for(settle)?;
        client.run_until_quiet()?;
        let (process_idle, kernel_idle) = (server.resident_bytes(), kernel_tcp_bytes());

        client.measuring = Some(Arrivals::default());
        client.bytes = 0;
        let (cpu_before, started) = (server.cpu_us(), Instant::now());
        let client_cpu_before = client_process.cpu_us();
        let mut memory = Vec::new();
        for _ in 0..MEMORY_READINGS {
            memory.push(Memory {
                seconds: started.elapsed().as_secs_f64(),
                process_bytes: server.resident_bytes(),
                kernel_bytes: kernel_tcp_bytes(),
            });
            client.run_for(seconds / MEMORY_READINGS)?;
        }
        client.run_until_quiet()?;
        let cpu_us = server.cpu_us().saturating_sub(cpu_before);
        let client_cpu_us = client_process.cpu_us() - client_cpu_before;
        let took_us = float(started.elapsed().as_micros());
        let arrivals = client.measuring.take().unwrap_or_default();

        let (deliveries, frames) = (arrivals.count(), arrivals.frames());
        if deliveries == 0 {
            bail!("no frame came in {seconds:?}");
        }
        let (latency, spread) = arrivals.sum_up();
        let each = float(deliveries);
        Ok(Report {
            viewers,
            frozen,
            open_cpu_us_per_viewer: float(open_cpu_us) / float(viewers as u64),
            open_wall_us_per_viewer: float(open_wall.as_micros()) / float(viewers as u64),
            idle_bytes_per_viewer: growth(process_before, process_idle) / float(viewers as u64),
            seconds: took_us / 1e6,
            deliveries,
            frames,
            delivered_share: each / (float(frames) * float((viewers - frozen) as u64)),
            bytes_per_delivery: float(client.bytes) / each,
            server_cpu_us_per_delivery: float(cpu_us) / each,
            server_cpu_share: float(cpu_us) / took_us,
            client_cpu_share: float(client_cpu_us) / took_us,
            latency,
            spread,
            grown_process_bytes: growth(process_idle, server.resident_bytes()),
            grown_kernel_bytes: growth(kernel_idle, kernel_tcp_bytes()),
            memory,
            lost: client.lost,
        })
    }

    impl Client {
        fn new(arguments: Arguments) -> Result<Self> {
            if arguments.frozen >= arguments.viewers {
                bail!("somebody has to read: fewer frozen viewers than viewers");
            }
            Ok(Self {
                epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
                viewers: Vec::with_capacity(arguments.viewers),
                publisher: None,
                buffer: vec![0; READ_BYTES],
                opened: 0,
                lost: 0,
                bytes: 0,
                measuring: None,
                last_arrival: Instant::now(),
                arguments,
            })
        }

        fn open_all(&mut self) -> Result<()> {
            let request = wire::request(self.arguments.transport, &self.arguments.path);
            let started = Instant::now();
            while self.opened < self.arguments.viewers {
                if self.lost > 0 {
                    bail!(
                        "the server ended a stream after {} of {} were open",
                        self.opened,
                        self.arguments.viewers
                    );
                }
                if started.elapsed() > OPENING_PATIENCE {
                    bail!(
                        "{} of {} streams were open after {OPENING_PATIENCE:?}",
                        self.opened,
                        self.arguments.viewers
                    );
                }
                while self.viewers.len() < self.arguments.viewers
                    && self.viewers.len() - self.opened < OPENING_MAX
                    && self.may_open(started)
                {
                    self.connect(&request)
                        .with_context(|| format!("viewer {}", self.viewers.len() + 1))?;
                }
                self.poll(Duration::from_millis(1))?;
            }
            Ok(())
        }

        fn may_open(&self, started: Instant) -> bool {
            let rate = self.arguments.open_rate;
            rate == 0
                || float(self.viewers.len() as u64)
                    <= started.elapsed().as_secs_f64() * float(rate as u64)
        }

        fn connect(&mut self, request: &str) -> Result<()> {
            let index = self.viewers.len();
            let frozen = index < self.arguments.frozen;
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            if frozen {
                socket.set_recv_buffer_size(FROZEN_RECEIVE_BYTES)?;
            }
            if let Ok(further @ 1..) = u8::try_from(index / PER_ADDRESS_MAX) {
                let source = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 1 + further));
                socket.bind(&SocketAddr::new(source, 0).into())?;
            }
            socket.connect_timeout(&self.arguments.address.into(), OPENING_PATIENCE)?;
            socket.set_tcp_nodelay(true)?;
            let mut stream = TcpStream::from(socket);
            stream.write_all(request.as_bytes())?;
            stream.set_nonblocking(true)?;
            // Told once for each arrival: else the kernel would look at every socket once more that
            // was just read empty, and that is a part of what a delivery costs here.
            let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
            self.epoll
                .add(&stream, EpollEvent::new(flags, index as u64))?;
            self.viewers.push(Some(Viewer {
                stream,
                open: false,
                frozen,
                pending: Vec::new(),
            }));
            Ok(())
        }

        fn start_publishing(&mut self) -> Result<()> {
            if self.arguments.publish.is_none() {
                return Ok(());
            }
            let stream = TcpStream::connect(self.arguments.address)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            self.epoll
                .add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, PUBLISHER))?;
            self.publisher = Some(Publisher {
                stream,
                due: Instant::now(),
                answered: true,
            });
            Ok(())
        }

        fn publish_if_due(&mut self) -> Result<()> {
            let (Some(publisher), Some(path)) = (&mut self.publisher, &self.arguments.publish)
            else {
                return Ok(());
            };
            let now = Instant::now();
            if now < publisher.due || !publisher.answered {
                return Ok(());
            }
            let period = Duration::from_secs_f64(1.0 / self.arguments.rate);
            // What is late is late; it is not made up for by two at once.
            publisher.due = (publisher.due + period).max(now);
            publisher.answered = false;
            let mut payload = wire::payload(self.arguments.bytes, now_us());
            let mut kind = "text/plain";
            if self.arguments.room_event {
                payload = format!("{{\"event\":\"bench\",\"data\":{payload}}}");
                kind = "application/json";
            }
            let request = format!(
                "POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: {kind}\r\n\
                 Content-Length: {}\r\n\r\n{payload}",
                self.arguments.address,
                payload.len()
            );
            // Waited for: a large frame is more than the socket takes at once.
            publisher.stream.set_nonblocking(false)?;
            publisher
                .stream
                .write_all(request.as_bytes())
                .context("publishing")?;
            publisher.stream.set_nonblocking(true)?;
            Ok(())
        }

        fn run_for(&mut self, time: Duration) -> Result<()> {
            let until = Instant::now() + time;
            while Instant::now() < until {
                self.poll(until.saturating_duration_since(Instant::now()))?;
            }
            Ok(())
        }

        /// Ends between two frames, where there is such a moment.
        fn run_until_quiet(&mut self) -> Result<()> {
            let until = Instant::now() + QUIET_PATIENCE;
            while Instant::now() < until && self.last_arrival.elapsed() < QUIET {
                self.poll(QUIET)?;
            }
            Ok(())
        }

        fn poll(&mut self, at_most: Duration) -> Result<()> {
            self.publish_if_due()?;
            let wait = match &self.publisher {
                Some(publisher) => {
                    at_most.min(publisher.due.saturating_duration_since(Instant::now()))
                }
                _ => at_most,
            };
            // Rounded up: a wait of nothing would turn the crank.
            let millis = u16::try_from(wait.as_millis() + 1).unwrap_or(u16::MAX);
            let mut events = [EpollEvent::empty(); EVENTS_MAX];
            let count = match self.epoll.wait(&mut events, millis) {
                Ok(count) => count,
                Err(nix::errno::Errno::EINTR) => 0,
                Err(error) => return Err(error).context("waiting for frames"),
            };
            for event in &events[..count] {
                // As much as there was room for: there may be more, which nobody tells again.
                while self.read(event.data())? == READ_BYTES {}
            }
            Ok(())
        }

        /// Reads once; returns how many bytes.
        fn read(&mut self, name: u64) -> Result<usize> {
            if name == PUBLISHER {
                let Some(publisher) = &mut self.publisher else {
                    return Ok(0);
                };
                return match publisher.stream.read(&mut self.buffer) {
                    Ok(0) => bail!("the server closed the publisher's connection"),
                    Ok(count) => {
                        publisher.answered = true;
                        Ok(count)
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
                    Err(error) => Err(error).context("the publisher's connection"),
                };
            }
            let index = usize::try_from(name)?;
            let Some(viewer) = self.viewers.get_mut(index).and_then(Option::as_mut) else {
                return Ok(0);
            };
            let count = match viewer.stream.read(&mut self.buffer) {
                Ok(0) => return self.lose(index),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
                Err(_) => return self.lose(index),
            };
            self.last_arrival = Instant::now();
            self.bytes += count as u64;
            if !viewer.open {
                viewer.pending.extend_from_slice(&self.buffer[..count]);
                let Some(end) = head_end(&viewer.pending) else {
                    return Ok(count);
                };
                check_head(self.arguments.transport, &viewer.pending)?;
                viewer.open = true;
                self.opened += 1;
                viewer.pending.drain(..end);
                if viewer.frozen {
                    self.epoll.delete(&viewer.stream)?;
                    return Ok(0);
                }
            } else if viewer.pending.is_empty() {
                let taken = take(
                    self.arguments.transport,
                    &self.buffer[..count],
                    &viewer.stream,
                    &mut self.measuring,
                );
                viewer.pending.extend_from_slice(&self.buffer[taken..count]);
                return Ok(count);
            } else {
                viewer.pending.extend_from_slice(&self.buffer[..count]);
            }
            let taken = take(
                self.arguments.transport,
                &viewer.pending,
                &viewer.stream,
                &mut self.measuring,
            );
            viewer.pending.drain(..taken);
            if viewer.pending.is_empty() {
                viewer.pending = Vec::new();
            }
            Ok(count)
        }

        fn lose(&mut self, index: usize) -> Result<usize> {
            if let Some(viewer) = self.viewers[index].take() {
                self.epoll.delete(&viewer.stream)?;
                self.lost += 1;
            }
            Ok(0)
        }
    }

    fn take(
        transport: Transport,
        bytes: &[u8],
        stream: &TcpStream,
        measuring: &mut Option<Arrivals>,
    ) -> usize {
        let now_us = now_us();
        let mut stream = stream;
        wire::take_apart(transport, bytes, |found| match found {
            Found::Delivery(sent_us) => {
                if let Some(arrivals) = measuring {
                    arrivals.note(sent_us, now_us);
                }
            }
            // A full socket: the next ping finds room, or the server ends us, which is counted.
            Found::Ping => drop(stream.write(&wire::PONG)),
        })
    }

    fn head_end(bytes: &[u8]) -> Option<usize> {
        bytes
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
            .map(|at| at + 4)
    }

    fn check_head(transport: Transport, head: &[u8]) -> Result<()> {
        let wanted: &[u8] = match transport {
            Transport::Ws => b"HTTP/1.1 101",
            Transport::Sse => b"HTTP/1.1 200",
        };
        if !head.starts_with(wanted) {
            let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
            bail!("the server answered {:?}", String::from_utf8_lossy(line));
        }
        Ok(())
    }

    fn growth(before: u64, after: u64) -> f64 {
        float(after) - float(before)
    }

    /// Counts of this size are exact in a float.
    #[expect(
        clippy::cast_precision_loss,
        reason = "counts and microseconds of one run stay far below 2^53"
    )]
    fn float(count: impl TryInto<u64>) -> f64 {
        count.try_into().map_or(f64::NAN, |count| count as f64)
    }
}
