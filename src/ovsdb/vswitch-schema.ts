import type { Json, JsonObject } from './json.ts';

/** The Open_vSwitch schema, version 8.3.1 (ovs-vswitchd.conf.db(5)), declared column by column. */

const UNLIMITED = 'unlimited';

const string: Json = 'string';
const integer: Json = 'integer';
const boolean: Json = 'boolean';
const range = (min: number, max: number): Json => ({ type: 'integer', minInteger: min, maxInteger: max });
const atLeast = (min: number): Json => ({ type: 'integer', minInteger: min });
const uint32 = range(0, 0xffffffff);
const vlan = range(0, 4095);
const oneOf = (...values: readonly string[]): Json => ({ type: 'string', enum: ['set', values] });
const ref = (table: string): Json => ({ type: 'uuid', refTable: table });
const weak = (table: string): Json => ({ type: 'uuid', refTable: table, refType: 'weak' });

const optional = (key: Json): Json => ({ key, min: 0, max: 1 });
const set = (key: Json, max: number | string = UNLIMITED): Json => ({ key, min: 0, max });
const oneOrMore = (key: Json): Json => ({ key, min: 1, max: UNLIMITED });
const map = (key: Json, value: Json): Json => ({ key, value, min: 0, max: UNLIMITED });
const strings = map(string, string);
const counters = map(string, integer);

class Marked {
  readonly column: JsonObject;
  constructor(column: JsonObject) {
    this.column = column;
  }
}

/** Not written to the file: what a running switch knows by itself. */
const ephemeral = (type: Json) => new Marked({ type: plain(type), ephemeral: true });
/** Can be set only when the row is made. */
const fixed = (type: Json) => new Marked({ type: plain(type), mutable: false });

/** A column's type must not be a bare <base-type> object: wrap it as exactly one of it. */
function plain(type: Json): Json {
  return typeof type === 'string' || Object.hasOwn(type as object, 'key') ? type : { key: type };
}

interface TableOptions {
  readonly isRoot?: boolean;
  readonly maxRows?: number;
  readonly indexes?: readonly (readonly string[])[];
}

function table(options: TableOptions, columns: { readonly [name: string]: Json | Marked }): JsonObject {
  const entries = Object.entries(columns).map(([name, column]): [string, Json] => {
    return [name, column instanceof Marked ? column.column : { type: plain(column) }];
  });
  return { ...(options as JsonObject), columns: Object.fromEntries(entries) };
}

const tables: JsonObject = {
  Open_vSwitch: table(
    { isRoot: true, maxRows: 1 },
    {
      datapaths: map(string, ref('Datapath')),
      bridges: set(ref('Bridge')),
      manager_options: set(ref('Manager')),
      ssl: optional(ref('SSL')),
      other_config: strings,
      external_ids: strings,
      next_cfg: integer,
      cur_cfg: integer,
      statistics: ephemeral(strings),
      ovs_version: optional(string),
      db_version: optional(string),
      system_type: optional(string),
      system_version: optional(string),
      datapath_types: set(string),
      iface_types: set(string),
      dpdk_initialized: boolean,
      dpdk_version: optional(string),
    },
  ),
  Bridge: table(
    { indexes: [['name']] },
    {
      name: fixed(string),
      datapath_type: string,
      datapath_version: string,
      datapath_id: ephemeral(optional(string)),
      stp_enable: boolean,
      rstp_enable: boolean,
      mcast_snooping_enable: boolean,
      ports: set(ref('Port')),
      mirrors: set(ref('Mirror')),
      netflow: optional(ref('NetFlow')),
      sflow: optional(ref('sFlow')),
      ipfix: optional(ref('IPFIX')),
      controller: set(ref('Controller')),
      protocols: set(oneOf('OpenFlow10', 'OpenFlow11', 'OpenFlow12', 'OpenFlow13', 'OpenFlow14', 'OpenFlow15')),
      fail_mode: optional(oneOf('standalone', 'secure')),
      status: ephemeral(strings),
      rstp_status: ephemeral(strings),
      other_config: strings,
      external_ids: strings,
      flood_vlans: set(vlan, 4096),
      flow_tables: map(range(0, 254), ref('Flow_Table')),
      auto_attach: optional(ref('AutoAttach')),
    },
  ),
  Port: table(
    { indexes: [['name']] },
    {
      name: fixed(string),
      interfaces: oneOrMore(ref('Interface')),
      trunks: set(vlan, 4096),
      cvlans: set(vlan, 4096),
      tag: optional(vlan),
      vlan_mode: optional(oneOf('trunk', 'access', 'native-tagged', 'native-untagged', 'dot1q-tunnel')),
      qos: optional(ref('QoS')),
      mac: optional(string),
      bond_mode: optional(oneOf('balance-tcp', 'balance-slb', 'active-backup')),
      lacp: optional(oneOf('active', 'passive', 'off')),
      bond_updelay: integer,
      bond_downdelay: integer,
      bond_active_slave: optional(string),
      bond_fake_iface: boolean,
      fake_bridge: boolean,
      status: ephemeral(strings),
      rstp_status: ephemeral(strings),
      rstp_statistics: ephemeral(counters),
      statistics: ephemeral(counters),
      protected: boolean,
      other_config: strings,
      external_ids: strings,
    },
  ),
  Interface: table(
    { indexes: [['name']] },
    {
      name: fixed(string),
      type: string,
      options: strings,
      ingress_policing_rate: atLeast(0),
      ingress_policing_burst: atLeast(0),
      ingress_policing_kpkts_rate: atLeast(0),
      ingress_policing_kpkts_burst: atLeast(0),
      mac_in_use: ephemeral(optional(string)),
      mac: optional(string),
      ifindex: ephemeral(optional(uint32)),
      external_ids: strings,
      ofport: optional(integer),
      ofport_request: optional(range(1, 65279)),
      bfd: strings,
      bfd_status: ephemeral(strings),
      cfm_mpid: optional(integer),
      cfm_remote_mpids: ephemeral(set(integer)),
      cfm_flap_count: optional(integer),
      cfm_fault: ephemeral(optional(boolean)),
      cfm_fault_status: ephemeral(set(string)),
      cfm_remote_opstate: ephemeral(optional(oneOf('up', 'down'))),
      cfm_health: ephemeral(optional(range(0, 100))),
      lacp_current: ephemeral(optional(boolean)),
      lldp: strings,
      other_config: strings,
      statistics: ephemeral(counters),
      status: ephemeral(strings),
      admin_state: ephemeral(optional(oneOf('up', 'down'))),
      link_state: ephemeral(optional(oneOf('up', 'down'))),
      link_resets: ephemeral(optional(integer)),
      link_speed: ephemeral(optional(integer)),
      duplex: ephemeral(optional(oneOf('half', 'full'))),
      mtu: ephemeral(optional(integer)),
      mtu_request: optional(atLeast(1)),
      error: optional(string),
    },
  ),
  Flow_Table: table(
    {},
    {
      name: optional(string),
      flow_limit: optional(atLeast(0)),
      overflow_policy: optional(oneOf('refuse', 'evict')),
      groups: set(string),
      prefixes: set(string, 3),
      external_ids: strings,
    },
  ),
  QoS: table(
    { isRoot: true },
    {
      type: string,
      queues: map(uint32, ref('Queue')),
      other_config: strings,
      external_ids: strings,
    },
  ),
  Queue: table(
    { isRoot: true },
    {
      dscp: optional(range(0, 63)),
      other_config: strings,
      external_ids: strings,
    },
  ),
  Mirror: table(
    {},
    {
      name: string,
      select_all: boolean,
      select_src_port: set(weak('Port')),
      select_dst_port: set(weak('Port')),
      select_vlan: set(vlan, 4096),
      output_port: optional(weak('Port')),
      output_vlan: optional(range(1, 4095)),
      snaplen: optional(range(14, 65535)),
      statistics: ephemeral(counters),
      external_ids: strings,
    },
  ),
  NetFlow: table(
    {},
    {
      targets: oneOrMore(string),
      engine_type: optional(range(0, 255)),
      engine_id: optional(range(0, 255)),
      add_id_to_interface: boolean,
      active_timeout: atLeast(-1),
      external_ids: strings,
    },
  ),
  sFlow: table(
    {},
    {
      targets: oneOrMore(string),
      sampling: optional(integer),
      polling: optional(integer),
      header: optional(integer),
      agent: optional(string),
      external_ids: strings,
    },
  ),
  IPFIX: table(
    {},
    {
      targets: set(string),
      sampling: optional(range(1, 4294967295)),
      obs_domain_id: optional(uint32),
      obs_point_id: optional(uint32),
      cache_active_timeout: optional(range(0, 4200)),
      cache_max_flows: optional(uint32),
      other_config: strings,
      external_ids: strings,
    },
  ),
  Flow_Sample_Collector_Set: table(
    { isRoot: true, indexes: [['id', 'bridge']] },
    {
      id: uint32,
      bridge: ref('Bridge'),
      ipfix: optional(ref('IPFIX')),
      external_ids: strings,
    },
  ),
  Controller: table(
    {},
    {
      type: optional(oneOf('primary', 'service')),
      target: string,
      max_backoff: optional(atLeast(1000)),
      inactivity_probe: optional(integer),
      connection_mode: optional(oneOf('in-band', 'out-of-band')),
      local_ip: optional(string),
      local_netmask: optional(string),
      local_gateway: optional(string),
      enable_async_messages: optional(boolean),
      controller_queue_size: optional(range(1, 512)),
      controller_rate_limit: optional(atLeast(100)),
      controller_burst_limit: optional(atLeast(25)),
      other_config: strings,
      external_ids: strings,
      is_connected: ephemeral(boolean),
      role: ephemeral(optional(oneOf('other', 'master', 'slave'))),
      status: ephemeral(strings),
    },
  ),
  Manager: table(
    { indexes: [['target']] },
    {
      target: string,
      max_backoff: optional(atLeast(1000)),
      inactivity_probe: optional(integer),
      connection_mode: optional(oneOf('in-band', 'out-of-band')),
      other_config: strings,
      external_ids: strings,
      is_connected: ephemeral(boolean),
      status: ephemeral(strings),
    },
  ),
  Datapath: table(
    {},
    {
      datapath_version: string,
      ct_zones: map(range(0, 65535), ref('CT_Zone')),
      capabilities: strings,
      external_ids: strings,
    },
  ),
  CT_Zone: table(
    {},
    {
      timeout_policy: optional(ref('CT_Timeout_Policy')),
      external_ids: strings,
    },
  ),
  CT_Timeout_Policy: table(
    {},
    {
      timeouts: map(
        oneOf(
          'tcp_syn_sent',
          'tcp_syn_recv',
          'tcp_established',
          'tcp_fin_wait',
          'tcp_close_wait',
          'tcp_last_ack',
          'tcp_time_wait',
          'tcp_close',
          'tcp_syn_sent2',
          'tcp_retransmit',
          'tcp_unack',
          'udp_first',
          'udp_single',
          'udp_multiple',
          'icmp_first',
          'icmp_reply',
        ),
        uint32,
      ),
      external_ids: strings,
    },
  ),
  SSL: table(
    { maxRows: 1 },
    {
      private_key: string,
      certificate: string,
      ca_cert: string,
      bootstrap_ca_cert: boolean,
      external_ids: strings,
    },
  ),
  AutoAttach: table(
    {},
    {
      system_name: string,
      system_description: string,
      mappings: map(range(0, 16777215), vlan),
    },
  ),
};

/** The schema as RFC 7047's <database-schema>. The checksum is that of the file that Open vSwitch 3.1 installs, so that its tools
 *  see that nothing has to be converted. */
export const VSWITCH_SCHEMA: JsonObject = {
  name: 'Open_vSwitch',
  version: '8.3.1',
  cksum: '3012963480 26720',
  tables,
};
