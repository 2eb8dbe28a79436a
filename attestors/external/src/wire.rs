//! The messages of the plug-in protocol, and the methods that take them. Only
//! what a host of workload attestors needs; field numbers are the wire's.

/// `plugin.Empty`, `google.protobuf.Empty`, and every other answer or question
/// without fields.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Empty {}

/// `plugin.StdioData`: what the plug-in wrote to its standard output or error.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct StdioData {
    /// 1 is standard output, 2 standard error.
    #[prost(int32, tag = "1")]
    pub channel: i32,
    /// The bytes.
    #[prost(bytes = "vec", tag = "2")]
    pub data: Vec<u8>,
}

/// `spire.service.private.init.v1.InitRequest`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct InitRequest {
    /// What the host offers to the plug-in: nothing.
    #[prost(string, repeated, tag = "1")]
    pub host_service_names: Vec<String>,
}

/// `spire.service.private.init.v1.InitResponse`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct InitResponse {
    /// The gRPC services that the plug-in has.
    #[prost(string, repeated, tag = "1")]
    pub plugin_service_names: Vec<String>,
}

/// `spire.service.common.config.v1.CoreConfiguration`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct CoreConfiguration {
    /// The trust domain's name, without a scheme.
    #[prost(string, tag = "1")]
    pub trust_domain: String,
}

/// `spire.service.common.config.v1.ConfigureRequest`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ConfigureRequest {
    /// What the host says of itself.
    #[prost(message, optional, tag = "1")]
    pub core_configuration: Option<CoreConfiguration>,
    /// The admin's text for this plug-in, in HCL.
    #[prost(string, tag = "2")]
    pub hcl_configuration: String,
}

/// `spire.plugin.agent.workloadattestor.v1.AttestRequest`.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct AttestRequest {
    /// The number of the process.
    #[prost(int32, tag = "1")]
    pub pid: i32,
}

/// `spire.plugin.agent.workloadattestor.v1.AttestResponse`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct AttestResponse {
    /// Values of selectors whose kind is the plug-in's name.
    #[prost(string, repeated, tag = "1")]
    pub selector_values: Vec<String>,
}

/// The service that makes a plug-in a workload attestor.
pub const ATTESTOR_SERVICE: &str = "spire.plugin.agent.workloadattestor.v1.WorkloadAttestor";
/// The service of a plug-in that takes a configuration.
pub const CONFIG_SERVICE: &str = "spire.service.common.config.v1.Config";

/// Takes an [`AttestRequest`], gives an [`AttestResponse`].
pub const ATTEST: &str = "/spire.plugin.agent.workloadattestor.v1.WorkloadAttestor/Attest";
/// Takes a [`ConfigureRequest`], gives [`Empty`].
pub const CONFIGURE: &str = "/spire.service.common.config.v1.Config/Configure";
/// Takes an [`InitRequest`], gives an [`InitResponse`].
pub const INIT: &str = "/spire.service.private.init.v1.Init/Init";
/// Takes and gives [`Empty`]; a plug-in need not have it.
pub const DEINIT: &str = "/spire.service.private.init.v1.Init/Deinit";
/// Takes and gives [`Empty`].
pub const SHUTDOWN: &str = "/plugin.GRPCController/Shutdown";
/// Takes [`Empty`], gives a stream of [`StdioData`].
pub const STREAM_STDIO: &str = "/plugin.GRPCStdio/StreamStdio";
