//! Where targets are: each section of a job, or of Alertmanagers, that finds them is a [`Source`],
//! and one that has to look again and again is a task that publishes all that it finds. What cannot
//! be looked at is told in words, and what was found before stays.

mod consul;
mod dns;
mod docker;
mod files;
mod http;
mod kubernetes;
mod meta;
mod publish;

use std::path::{Path, PathBuf};

pub(crate) use self::publish::Publish;
use crate::{
    config::{
        ConsulDiscovery, DnsDiscovery, DockerDiscovery, FileDiscovery, Finders, HttpDiscovery,
        KubernetesDiscovery, StaticGroup,
    },
    target::Group,
};

/// A section of the file that finds targets. Equal ones find the same.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Source {
    Static(Vec<StaticGroup>),
    Files(FileDiscovery, PathBuf),
    Http(Box<HttpDiscovery>, PathBuf),
    Dns(DnsDiscovery),
    Kubernetes(Box<KubernetesDiscovery>, PathBuf),
    Docker(Box<DockerDiscovery>, PathBuf),
    Consul(Box<ConsulDiscovery>, PathBuf),
}

/// All sections of a job, or of Alertmanagers, that are supported.
pub(crate) fn sources(finders: &Finders<'_>, folder: &Path) -> Vec<Source> {
    let folder = || folder.to_owned();
    let mut sources = Vec::new();
    if !finders.fixed.is_empty() {
        sources.push(Source::Static(finders.fixed.to_vec()));
    }
    let files = finders.files.iter().cloned();
    sources.extend(files.map(|section| Source::Files(section, folder())));
    let http = finders.http.iter().cloned().map(Box::new);
    sources.extend(http.map(|section| Source::Http(section, folder())));
    sources.extend(finders.dns.iter().cloned().map(Source::Dns));
    let kubernetes = finders.kubernetes.iter().cloned().map(Box::new);
    sources.extend(kubernetes.map(|section| Source::Kubernetes(section, folder())));
    let docker = finders.docker.iter().cloned().map(Box::new);
    sources.extend(docker.map(|section| Source::Docker(section, folder())));
    let consul = finders.consul.iter().cloned().map(Box::new);
    sources.extend(consul.map(|section| Source::Consul(section, folder())));
    sources
}

impl Source {
    /// What is found without looking; then there is nothing to run.
    pub(crate) fn fixed(&self) -> Vec<Group> {
        match self {
            Self::Static(groups) => groups.iter().map(Group::from).collect(),
            _ => Vec::new(),
        }
    }

    /// Looks until it is dropped.
    pub(crate) async fn run(self, publish: Publish) {
        match self {
            Self::Static(_) => {}
            Self::Files(section, folder) => files::run(section, folder, publish).await,
            Self::Http(section, folder) => http::run(*section, folder, publish).await,
            Self::Dns(section) => dns::run(section, publish).await,
            Self::Kubernetes(section, folder) => kubernetes::run(*section, folder, publish).await,
            Self::Docker(section, folder) => docker::run(*section, folder, publish).await,
            Self::Consul(section, folder) => consul::run(*section, folder, publish).await,
        }
    }
}
