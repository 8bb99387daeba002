/** What vhost-user devices take from the switch as a whole (Open_vSwitch.other_config). */
export interface VhostUserConfig {
  /** Folder of the sockets of `dpdkvhostuser` ports: OVS_RUNDIR, or `vhost-sock-dir` below it. Absolute. */
  sockDir: string;
}
