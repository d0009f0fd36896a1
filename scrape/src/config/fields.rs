//! Fields that several sections of the file have: who asks, and where targets are found. They are
//! pasted into each section and not put into it as one, since then an unknown field would be told
//! without its line.

/// A section with the fields of `<http_config>`.
macro_rules! with_http {
    ($(#[$meta:meta])* pub struct $name:ident { $($(#[$field_meta:meta])* pub $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, serde::Deserialize, serde::Serialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $($(#[$field_meta])* pub $field: $type,)*
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub basic_auth: Option<pulseboard_outbound::config::BasicAuth>,
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub authorization: Option<pulseboard_outbound::config::Authorization>,
            /// Read, and told as what is not there.
            #[serde(default, skip_serializing)]
            pub oauth2: Option<yaml_serde::Value>,
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub bearer_token: Option<pulseboard_outbound::Secret>,
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub bearer_token_file: Option<std::path::PathBuf>,
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub tls_config: Option<pulseboard_outbound::config::TlsConfig>,
            #[serde(default = "super::fields::yes")]
            pub follow_redirects: bool,
            #[serde(default = "super::fields::yes")]
            pub enable_http2: bool,
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub proxy_url: Option<pulseboard_outbound::Secret>,
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub no_proxy: Option<String>,
            #[serde(default, skip_serializing_if = "std::ops::Not::not")]
            pub proxy_from_environment: bool,
            #[serde(default, skip_serializing)]
            pub proxy_connect_header: Option<yaml_serde::Value>,
            #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
            pub http_headers: std::collections::BTreeMap<
                String,
                pulseboard_outbound::config::HeaderValues,
            >,
        }

        impl $name {
            /// Who asks, with files that lie where the configuration does.
            #[must_use]
            pub fn client(&self, folder: &std::path::Path) -> pulseboard_outbound::ClientConfig {
                let mut client = pulseboard_outbound::ClientConfig {
                    basic_auth: self.basic_auth.clone(),
                    authorization: self.authorization.clone(),
                    bearer_token: self.bearer_token.clone(),
                    bearer_token_file: self.bearer_token_file.clone(),
                    tls_config: self.tls_config.clone().unwrap_or_default(),
                    follow_redirects: self.follow_redirects,
                    enable_http2: self.enable_http2,
                    proxy_url: self.proxy_url.clone(),
                    no_proxy: self.no_proxy.clone(),
                    http_headers: self.http_headers.clone(),
                    unix_socket: None,
                    guard: None,
                };
                client.resolve(folder);
                client
            }

            /// Fields that ask for what is not there.
            #[must_use]
            pub fn missing(&self) -> Vec<&'static str> {
                [
                    (self.oauth2.is_some(), "oauth2"),
                    (self.proxy_from_environment, "proxy_from_environment"),
                    (self.proxy_connect_header.is_some(), "proxy_connect_header"),
                ]
                .into_iter()
                .filter_map(|(is_there, name)| is_there.then_some(name))
                .collect()
            }
        }
    };
}

/// A section with the fields of `<http_config>` and all the `…_sd_configs`.
macro_rules! with_discovery {
    ($(#[$meta:meta])* pub struct $name:ident { $($(#[$field_meta:meta])* pub $field:ident: $type:ty,)* }
     unsupported: $($kind:ident),*) => {
        with_http! {
            $(#[$meta])*
            pub struct $name {
                $($(#[$field_meta])* pub $field: $type,)*
                #[serde(default, skip_serializing_if = "Vec::is_empty")]
                pub static_configs: Vec<super::discovery::StaticGroup>,
                #[serde(default, skip_serializing_if = "Vec::is_empty")]
                pub file_sd_configs: Vec<super::discovery::FileDiscovery>,
                #[serde(default, skip_serializing_if = "Vec::is_empty")]
                pub http_sd_configs: Vec<super::discovery::HttpDiscovery>,
                #[serde(default, skip_serializing_if = "Vec::is_empty")]
                pub dns_sd_configs: Vec<super::discovery::DnsDiscovery>,
                #[serde(default, skip_serializing_if = "Vec::is_empty")]
                pub kubernetes_sd_configs: Vec<super::discovery::KubernetesDiscovery>,
                #[serde(default, skip_serializing_if = "Vec::is_empty")]
                pub docker_sd_configs: Vec<super::discovery::DockerDiscovery>,
                #[serde(default, skip_serializing_if = "Vec::is_empty")]
                pub consul_sd_configs: Vec<super::discovery::ConsulDiscovery>,
                $(#[serde(default, skip_serializing)]
                pub $kind: super::discovery::Unsupported,)*
            }
        }

        impl $name {
            /// All that finds targets.
            pub(crate) fn finders(&self) -> super::discovery::Finders<'_> {
                super::discovery::Finders {
                    fixed: &self.static_configs,
                    files: &self.file_sd_configs,
                    http: &self.http_sd_configs,
                    dns: &self.dns_sd_configs,
                    kubernetes: &self.kubernetes_sd_configs,
                    docker: &self.docker_sd_configs,
                    consul: &self.consul_sd_configs,
                }
            }

            /// Whether all that targets are found by can find any, as Prometheus wants it.
            ///
            /// # Errors
            /// One cannot; in words that begin with its kind.
            pub(super) fn check_discovery(&self) -> Result<(), String> {
                self.finders().check(!self.relabel_configs.is_empty())?;
                self.check_askers()
            }

            /// Whether those who ask for targets can be who the section says, whatever files there
            /// are.
            ///
            /// # Errors
            /// One cannot; in words that begin with its kind.
            fn check_askers(&self) -> Result<(), String> {
                let folder = std::path::Path::new("");
                let http = self.http_sd_configs.iter();
                let kubernetes = self.kubernetes_sd_configs.iter();
                let docker = self.docker_sd_configs.iter();
                let consul = self.consul_sd_configs.iter();
                http.map(|one| ("http_sd_configs", one.client(folder)))
                    .chain(kubernetes.map(|one| ("kubernetes_sd_configs", one.client(folder))))
                    .chain(docker.map(|one| ("docker_sd_configs", one.client(folder))))
                    .chain(consul.map(|one| ("consul_sd_configs", one.client(folder))))
                    .try_for_each(|(kind, client)| {
                        client.check().map_err(|error| format!("{kind}: {error}"))
                    })
            }

            /// Kinds of discovery that the section asks for and that are not there.
            #[must_use]
            pub fn unsupported(&self) -> Vec<&'static str> {
                [$((self.$kind.is_asked_for(), stringify!($kind))),*]
                    .into_iter()
                    .filter_map(|(is_there, name)| is_there.then_some(name))
                    .collect()
            }
        }
    };
    ($(#[$meta:meta])* pub struct $name:ident { $($fields:tt)* }) => {
        with_discovery! {
            $(#[$meta])*
            pub struct $name { $($fields)* }
            unsupported: azure_sd_configs, digitalocean_sd_configs, dockerswarm_sd_configs,
                ec2_sd_configs, eureka_sd_configs, gce_sd_configs, hetzner_sd_configs,
                ionos_sd_configs, kuma_sd_configs, lightsail_sd_configs, linode_sd_configs,
                marathon_sd_configs, nerve_sd_configs, nomad_sd_configs, openstack_sd_configs,
                ovhcloud_sd_configs, puppetdb_sd_configs, scaleway_sd_configs,
                serverset_sd_configs, stackit_sd_configs, triton_sd_configs, uyuni_sd_configs,
                vultr_sd_configs
        }
    };
}

pub(super) use {with_discovery, with_http};

/// What is on unless it is switched off.
pub(super) fn yes() -> bool {
    true
}
