//! `prometheus.yml`, whole and as Prometheus reads it: strict about fields that it does not know,
//! with the line; defaults filled in; printed again without its secrets.

mod discovery;
mod fields;
mod global;
mod job;
mod load;
mod protocol;
mod remote;
mod units;

pub use self::{
    discovery::{
        ConsulDiscovery, DnsDiscovery, DnsType, DockerDiscovery, FileDiscovery, Filter,
        HttpDiscovery, KubernetesDiscovery, KubernetesRole, Namespaces, RoleSelector, StaticGroup,
        Unsupported,
    },
    global::{Alerting, AlertmanagerConfig, Global},
    job::JobConfig,
    load::{Config, ConfigError, load, parse},
    protocol::ScrapeProtocol,
    remote::{MetadataConfig, QueueConfig, RemoteRead, RemoteWrite},
    units::{Period, Size},
};

pub(crate) use self::{discovery::Finders, job::check_times, load::files};
