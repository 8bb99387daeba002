/**
 * OpenFlow errors by version-independent name, and how each version writes them (openflow-1.0.0 section 5.4.4 and its successors;
 * Nicira's and ONF's extensions). Where one version has a single number for what a later version tells apart, the first row with
 * that number is what it decodes to.
 *
 * A row: vendor ('OF' standard, 'NX' Nicira, 'ONF'), first and last wire version, type, code. A vendor error of wire version 3 or
 * later has its vendor's number as its `type` and no code; Nicira's of versions 1 and 2 have both.
 */
export type OfErrorSpec = readonly [vendor: 'OF' | 'NX' | 'ONF', from: number, to: number, type: number, code?: number];

export const OF_ERRORS = {
  OFPHFC_INCOMPATIBLE: [['OF', 1, 6, 0, 0]],
  OFPHFC_EPERM: [['OF', 1, 6, 0, 1]],
  OFPBRC_BAD_VERSION: [['OF', 1, 6, 1, 0]],
  OFPBRC_BAD_TYPE: [['OF', 1, 6, 1, 1]],
  OFPBRC_BAD_STAT: [['OF', 1, 6, 1, 2]],
  OFPBRC_BAD_VENDOR: [['OF', 1, 6, 1, 3]],
  OFPBRC_BAD_SUBTYPE: [['OF', 1, 6, 1, 4]],
  OFPBRC_EPERM: [['OF', 1, 6, 1, 5]],
  OFPBRC_BAD_LEN: [['OF', 1, 6, 1, 6]],
  OFPBRC_BUFFER_EMPTY: [['OF', 1, 6, 1, 7]],
  OFPBRC_BUFFER_UNKNOWN: [['OF', 1, 6, 1, 8]],
  OFPBRC_BAD_TABLE_ID: [
    ['NX', 1, 1, 1, 512],
    ['OF', 2, 6, 1, 9],
  ],
  OFPBRC_IS_SECONDARY: [
    ['OF', 1, 2, 1, 5],
    ['OF', 3, 6, 1, 10],
  ],
  OFPBRC_BAD_PORT: [
    ['NX', 1, 2, 1, 514],
    ['OF', 3, 6, 1, 11],
  ],
  OFPBRC_BAD_PACKET: [['OF', 3, 6, 1, 12]],
  OFPBRC_MULTIPART_BUFFER_OVERFLOW: [['OF', 4, 6, 1, 13]],
  OFPBRC_MULTIPART_REQUEST_TIMEOUT: [
    ['ONF', 4, 4, 2640],
    ['OF', 5, 6, 1, 14],
  ],
  OFPBRC_MULTIPART_REPLY_TIMEOUT: [
    ['ONF', 4, 4, 2641],
    ['OF', 5, 6, 1, 15],
  ],
  OFPBRC_MULTIPART_BAD_SCHED: [['OF', 6, 6, 1, 16]],
  OFPBRC_PIPELINE_FIELDS_ONLY: [['OF', 6, 6, 1, 17]],
  OFPBRC_UNKNOWN: [['OF', 6, 6, 1, 18]],
  NXBRC_NXM_INVALID: [
    ['NX', 1, 2, 1, 256],
    ['NX', 3, 6, 2],
  ],
  NXBRC_NXM_BAD_TYPE: [
    ['NX', 1, 2, 1, 257],
    ['NX', 3, 6, 3],
  ],
  NXBRC_MUST_BE_ZERO: [
    ['NX', 1, 2, 1, 515],
    ['NX', 3, 6, 4],
  ],
  NXBRC_BAD_REASON: [
    ['NX', 1, 2, 1, 516],
    ['NX', 3, 6, 5],
  ],
  NXBRC_FM_BAD_EVENT: [
    ['NX', 1, 2, 1, 520],
    ['NX', 3, 6, 9],
  ],
  NXBRC_UNENCODABLE_ERROR: [
    ['NX', 1, 2, 1, 521],
    ['NX', 3, 6, 10],
  ],
  OFPBAC_BAD_TYPE: [['OF', 1, 6, 2, 0]],
  OFPBAC_BAD_LEN: [['OF', 1, 6, 2, 1]],
  OFPBAC_BAD_VENDOR: [['OF', 1, 6, 2, 2]],
  OFPBAC_BAD_VENDOR_TYPE: [['OF', 1, 6, 2, 3]],
  OFPBAC_BAD_OUT_PORT: [['OF', 1, 6, 2, 4]],
  OFPBAC_BAD_ARGUMENT: [['OF', 1, 6, 2, 5]],
  OFPBAC_EPERM: [['OF', 1, 6, 2, 6]],
  OFPBAC_TOO_MANY: [['OF', 1, 6, 2, 7]],
  OFPBAC_BAD_QUEUE: [['OF', 1, 6, 2, 8]],
  OFPBAC_BAD_OUT_GROUP: [
    ['NX', 1, 1, 2, 9],
    ['OF', 2, 6, 2, 9],
  ],
  OFPBAC_MATCH_INCONSISTENT: [
    ['NX', 1, 1, 1, 522],
    ['OF', 2, 6, 2, 10],
  ],
  OFPBAC_UNSUPPORTED_ORDER: [['OF', 2, 6, 2, 11]],
  OFPBAC_BAD_TAG: [['OF', 2, 6, 2, 12]],
  OFPBAC_BAD_SET_TYPE: [
    ['NX', 1, 2, 1, 523],
    ['OF', 3, 6, 2, 13],
  ],
  OFPBAC_BAD_SET_LEN: [
    ['NX', 1, 2, 1, 524],
    ['OF', 3, 6, 2, 14],
  ],
  OFPBAC_BAD_SET_ARGUMENT: [
    ['NX', 1, 2, 1, 525],
    ['OF', 3, 6, 2, 15],
  ],
  OFPBAC_BAD_SET_MASK: [
    ['ONF', 4, 5, 4250],
    ['OF', 6, 6, 2, 16],
  ],
  OFPBAC_BAD_METER: [['OF', 6, 6, 2, 17]],
  NXBAC_MUST_BE_ZERO: [
    ['NX', 1, 2, 2, 256],
    ['NX', 3, 6, 11],
  ],
  NXBAC_BAD_CONJUNCTION: [
    ['NX', 1, 2, 2, 526],
    ['NX', 3, 6, 15],
  ],
  NXBAC_BAD_HEADER_TYPE: [['NX', 4, 6, 39]],
  NXBAC_UNKNOWN_ED_PROP: [['NX', 4, 6, 40]],
  NXBAC_BAD_ED_PROP: [['NX', 4, 6, 41]],
  NXBAC_CT_DATAPATH_SUPPORT: [
    ['NX', 1, 2, 1, 265],
    ['NX', 3, 6, 42],
  ],
  OFPBIC_UNKNOWN_INST: [['OF', 2, 6, 3, 0]],
  OFPBIC_UNSUP_INST: [
    ['NX', 1, 1, 2, 257],
    ['OF', 2, 6, 3, 1],
  ],
  OFPBIC_BAD_TABLE_ID: [['OF', 2, 6, 3, 2]],
  OFPBIC_UNSUP_METADATA: [['OF', 2, 6, 3, 3]],
  OFPBIC_UNSUP_METADATA_MASK: [['OF', 2, 6, 3, 4]],
  OFPBIC_BAD_EXPERIMENTER: [['OF', 2, 6, 3, 5]],
  OFPBIC_BAD_EXP_TYPE: [
    ['OF', 2, 2, 3, 5],
    ['OF', 3, 6, 3, 6],
  ],
  OFPBIC_BAD_LEN: [['OF', 3, 6, 3, 7]],
  OFPBIC_EPERM: [['OF', 3, 6, 3, 8]],
  OFPBIC_DUP_INST: [
    ['NX', 2, 2, 3, 256],
    ['ONF', 3, 4, 2600],
    ['OF', 5, 6, 3, 9],
  ],
  OFPBMC_BAD_TYPE: [['OF', 2, 6, 4, 0]],
  OFPBMC_BAD_LEN: [['OF', 2, 6, 4, 1]],
  OFPBMC_BAD_TAG: [['OF', 2, 6, 4, 2]],
  OFPBMC_BAD_DL_ADDR_MASK: [['OF', 2, 6, 4, 3]],
  OFPBMC_BAD_NW_ADDR_MASK: [['OF', 2, 6, 4, 4]],
  OFPBMC_BAD_WILDCARDS: [
    ['NX', 1, 1, 1, 262],
    ['OF', 2, 6, 4, 5],
  ],
  OFPBMC_BAD_FIELD: [
    ['NX', 1, 1, 0, 263],
    ['OF', 2, 6, 4, 6],
  ],
  OFPBMC_BAD_VALUE: [
    ['NX', 1, 1, 1, 258],
    ['OF', 2, 6, 4, 7],
  ],
  OFPBMC_BAD_MASK: [
    ['NX', 1, 2, 1, 259],
    ['OF', 3, 6, 4, 8],
  ],
  OFPBMC_BAD_PREREQ: [
    ['NX', 1, 2, 1, 260],
    ['OF', 3, 6, 4, 9],
  ],
  OFPBMC_DUP_FIELD: [
    ['NX', 1, 2, 1, 261],
    ['OF', 3, 6, 4, 10],
  ],
  OFPBMC_EPERM: [['OF', 3, 6, 4, 11]],
  NXBMC_CT_DATAPATH_SUPPORT: [
    ['NX', 1, 2, 1, 264],
    ['NX', 3, 6, 43],
  ],
  OFPFMFC_UNKNOWN: [['OF', 2, 6, 5, 0]],
  OFPFMFC_TABLE_FULL: [
    ['OF', 1, 1, 3, 0],
    ['OF', 2, 6, 5, 1],
  ],
  OFPFMFC_BAD_TABLE_ID: [['OF', 2, 6, 5, 2]],
  OFPFMFC_OVERLAP: [
    ['OF', 1, 1, 3, 1],
    ['OF', 2, 6, 5, 3],
  ],
  OFPFMFC_EPERM: [
    ['OF', 1, 1, 3, 2],
    ['OF', 2, 6, 5, 4],
  ],
  OFPFMFC_BAD_TIMEOUT: [['OF', 2, 6, 5, 5]],
  OFPFMFC_BAD_EMERG_TIMEOUT: [['OF', 1, 1, 3, 3]],
  OFPFMFC_BAD_COMMAND: [
    ['OF', 1, 1, 3, 4],
    ['OF', 2, 6, 5, 6],
  ],
  OFPFMFC_BAD_FLAGS: [
    ['NX', 1, 1, 3, 258],
    ['NX', 2, 2, 5, 258],
    ['OF', 3, 6, 5, 7],
  ],
  OFPFMFC_CANT_SYNC: [['OF', 5, 6, 5, 8]],
  OFPFMFC_BAD_PRIORITY: [
    ['ONF', 4, 4, 2360],
    ['OF', 5, 6, 5, 9],
  ],
  OFPFMFC_IS_SYNC: [['OF', 5, 6, 5, 10]],
  OFPFMFC_UNSUPPORTED: [['OF', 1, 1, 3, 5]],
  NXFMFC_HARDWARE: [
    ['NX', 1, 2, 5, 256],
    ['NX', 3, 6, 12],
  ],
  NXFMFC_BAD_TABLE_ID: [
    ['NX', 1, 2, 5, 257],
    ['NX', 3, 6, 13],
  ],
  NXFMFC_INVALID_TLV_FIELD: [
    ['NX', 1, 2, 1, 536],
    ['NX', 3, 6, 37],
  ],
  OFPGMFC_GROUP_EXISTS: [
    ['NX', 1, 1, 6, 0],
    ['OF', 2, 6, 6, 0],
  ],
  OFPGMFC_INVALID_GROUP: [
    ['NX', 1, 1, 6, 1],
    ['OF', 2, 6, 6, 1],
  ],
  OFPGMFC_WEIGHT_UNSUPPORTED: [
    ['NX', 1, 1, 6, 2],
    ['OF', 2, 6, 6, 2],
  ],
  OFPGMFC_OUT_OF_GROUPS: [
    ['NX', 1, 1, 6, 3],
    ['OF', 2, 6, 6, 3],
  ],
  OFPGMFC_OUT_OF_BUCKETS: [
    ['NX', 1, 1, 6, 4],
    ['OF', 2, 6, 6, 4],
  ],
  OFPGMFC_CHAINING_UNSUPPORTED: [
    ['NX', 1, 1, 6, 5],
    ['OF', 2, 6, 6, 5],
  ],
  OFPGMFC_WATCH_UNSUPPORTED: [
    ['NX', 1, 1, 6, 6],
    ['OF', 2, 6, 6, 6],
  ],
  OFPGMFC_LOOP: [
    ['NX', 1, 1, 6, 7],
    ['OF', 2, 6, 6, 7],
  ],
  OFPGMFC_UNKNOWN_GROUP: [
    ['NX', 1, 1, 6, 8],
    ['OF', 2, 6, 6, 8],
  ],
  OFPGMFC_CHAINED_GROUP: [
    ['NX', 1, 1, 6, 9],
    ['OF', 3, 6, 6, 9],
  ],
  OFPGMFC_BAD_TYPE: [
    ['NX', 1, 1, 6, 10],
    ['OF', 3, 6, 6, 10],
  ],
  OFPGMFC_BAD_COMMAND: [
    ['NX', 1, 1, 6, 11],
    ['OF', 3, 6, 6, 11],
  ],
  OFPGMFC_BAD_BUCKET: [
    ['NX', 1, 1, 6, 12],
    ['OF', 3, 6, 6, 12],
  ],
  OFPGMFC_BAD_WATCH: [
    ['NX', 1, 1, 6, 13],
    ['OF', 3, 6, 6, 13],
  ],
  OFPGMFC_EPERM: [
    ['NX', 1, 1, 6, 14],
    ['OF', 3, 6, 6, 14],
  ],
  OFPGMFC_UNKNOWN_BUCKET: [
    ['NX', 1, 1, 6, 15],
    ['OF', 6, 6, 6, 15],
  ],
  OFPGMFC_BUCKET_EXISTS: [
    ['NX', 1, 1, 6, 16],
    ['OF', 6, 6, 6, 16],
  ],
  OFPPMFC_BAD_PORT: [
    ['OF', 1, 1, 4, 0],
    ['OF', 2, 6, 7, 0],
  ],
  OFPPMFC_BAD_HW_ADDR: [
    ['OF', 1, 1, 4, 1],
    ['OF', 2, 6, 7, 1],
  ],
  OFPPMFC_BAD_CONFIG: [['OF', 2, 6, 7, 2]],
  OFPPMFC_BAD_ADVERTISE: [['OF', 2, 6, 7, 3]],
  OFPPMFC_EPERM: [['OF', 3, 6, 7, 4]],
  OFPTMFC_BAD_TABLE: [['OF', 2, 6, 8, 0]],
  OFPTMFC_BAD_CONFIG: [['OF', 2, 6, 8, 1]],
  OFPTMFC_EPERM: [['OF', 3, 6, 8, 2]],
  OFPQOFC_BAD_PORT: [
    ['OF', 1, 1, 5, 0],
    ['OF', 2, 6, 9, 0],
  ],
  OFPQOFC_BAD_QUEUE: [
    ['OF', 1, 1, 5, 1],
    ['OF', 2, 6, 9, 1],
  ],
  OFPQOFC_EPERM: [
    ['OF', 1, 1, 5, 2],
    ['OF', 2, 6, 9, 2],
  ],
  NXQOFC_QUEUE_ERROR: [['NX', 5, 6, 23]],
  OFPSCFC_BAD_FLAGS: [['OF', 2, 6, 10, 0]],
  OFPSCFC_BAD_LEN: [['OF', 2, 6, 10, 1]],
  OFPSCFC_EPERM: [['OF', 3, 6, 10, 2]],
  OFPRRFC_STALE: [['OF', 3, 6, 11, 0]],
  OFPRRFC_UNSUP: [['OF', 3, 6, 11, 1]],
  OFPRRFC_BAD_ROLE: [
    ['NX', 1, 2, 1, 513],
    ['OF', 3, 6, 11, 2],
  ],
  OFPRRFC_ID_UNSUP: [['OF', 6, 6, 11, 3]],
  OFPRRFC_ID_IN_USE: [['OF', 6, 6, 11, 4]],
  OFPMMFC_UNKNOWN: [['OF', 4, 6, 12, 0]],
  OFPMMFC_METER_EXISTS: [['OF', 4, 6, 12, 1]],
  OFPMMFC_INVALID_METER: [['OF', 4, 6, 12, 2]],
  OFPMMFC_UNKNOWN_METER: [['OF', 4, 6, 12, 3]],
  OFPMMFC_BAD_COMMAND: [['OF', 4, 6, 12, 4]],
  OFPMMFC_BAD_FLAGS: [['OF', 4, 6, 12, 5]],
  OFPMMFC_BAD_RATE: [['OF', 4, 6, 12, 6]],
  OFPMMFC_BAD_BURST: [['OF', 4, 6, 12, 7]],
  OFPMMFC_BAD_BAND: [['OF', 4, 6, 12, 8]],
  OFPMMFC_BAD_BAND_VALUE: [['OF', 4, 6, 12, 9]],
  OFPMMFC_OUT_OF_METERS: [['OF', 4, 6, 12, 10]],
  OFPMMFC_OUT_OF_BANDS: [['OF', 4, 6, 12, 11]],
  OFPTFFC_BAD_TABLE: [['OF', 4, 6, 13, 0]],
  OFPTFFC_BAD_METADATA: [['OF', 4, 6, 13, 1]],
  OFPTFFC_EPERM: [['OF', 4, 6, 13, 5]],
  OFPTFFC_BAD_CAPA: [['OF', 6, 6, 13, 6]],
  OFPTFFC_BAD_MAX_ENT: [['OF', 6, 6, 13, 7]],
  OFPTFFC_BAD_FEATURES: [['OF', 6, 6, 13, 8]],
  OFPTFFC_BAD_COMMAND: [['OF', 6, 6, 13, 9]],
  OFPTFFC_TOO_MANY: [['OF', 6, 6, 13, 10]],
  NXTFFC_DUP_TABLE: [['NX', 4, 6, 44]],
  OFPBPC_BAD_TYPE: [
    ['NX', 1, 2, 13, 2],
    ['NX', 3, 3, 25],
    ['OF', 4, 4, 13, 2],
    ['OF', 5, 6, 14, 0],
  ],
  OFPBPC_BAD_LEN: [
    ['NX', 1, 2, 13, 3],
    ['NX', 3, 3, 26],
    ['OF', 4, 4, 13, 3],
    ['OF', 5, 6, 14, 1],
  ],
  OFPBPC_BAD_VALUE: [
    ['NX', 1, 2, 13, 4],
    ['NX', 3, 3, 27],
    ['OF', 4, 4, 13, 4],
    ['OF', 5, 6, 14, 2],
  ],
  OFPBPC_TOO_MANY: [
    ['NX', 1, 2, 14, 3],
    ['NX', 3, 3, 28],
    ['ONF', 4, 4, 4443],
    ['OF', 5, 6, 14, 3],
  ],
  OFPBPC_DUP_TYPE: [
    ['NX', 1, 2, 14, 4],
    ['NX', 3, 3, 29],
    ['ONF', 4, 4, 4444],
    ['OF', 5, 6, 14, 4],
  ],
  OFPBPC_BAD_EXPERIMENTER: [
    ['NX', 1, 2, 14, 5],
    ['NX', 3, 3, 30],
    ['ONF', 4, 4, 4445],
    ['OF', 5, 6, 14, 5],
  ],
  OFPBPC_BAD_EXP_TYPE: [
    ['NX', 1, 2, 14, 6],
    ['NX', 3, 3, 31],
    ['ONF', 4, 4, 4446],
    ['OF', 5, 6, 14, 6],
  ],
  OFPBPC_BAD_EXP_VALUE: [
    ['NX', 1, 2, 14, 7],
    ['NX', 3, 3, 32],
    ['ONF', 4, 4, 4447],
    ['OF', 5, 6, 14, 7],
  ],
  OFPBPC_EPERM: [
    ['NX', 1, 2, 14, 8],
    ['NX', 3, 3, 33],
    ['ONF', 4, 4, 4448],
    ['OF', 5, 6, 14, 8],
  ],
  OFPACFC_INVALID: [
    ['ONF', 4, 4, 2370],
    ['OF', 5, 6, 15, 0],
  ],
  OFPACFC_UNSUPPORTED: [
    ['ONF', 4, 4, 2371],
    ['OF', 5, 6, 15, 1],
  ],
  OFPACFC_EPERM: [
    ['ONF', 4, 4, 2372],
    ['OF', 5, 6, 15, 2],
  ],
  OFPBFC_UNKNOWN: [
    ['ONF', 4, 4, 2300],
    ['OF', 5, 6, 17, 0],
  ],
  OFPBFC_EPERM: [
    ['ONF', 4, 4, 2301],
    ['OF', 5, 6, 17, 1],
  ],
  OFPBFC_BAD_ID: [
    ['ONF', 4, 4, 2302],
    ['OF', 5, 6, 17, 2],
  ],
  OFPBFC_BUNDLE_EXIST: [
    ['ONF', 4, 4, 2303],
    ['OF', 5, 6, 17, 3],
  ],
  OFPBFC_BUNDLE_CLOSED: [
    ['ONF', 4, 4, 2304],
    ['OF', 5, 6, 17, 4],
  ],
  OFPBFC_OUT_OF_BUNDLES: [
    ['ONF', 4, 4, 2305],
    ['OF', 5, 6, 17, 5],
  ],
  OFPBFC_BAD_TYPE: [
    ['ONF', 4, 4, 2306],
    ['OF', 5, 6, 17, 6],
  ],
  OFPBFC_BAD_FLAGS: [
    ['ONF', 4, 4, 2307],
    ['OF', 5, 6, 17, 7],
  ],
  OFPBFC_MSG_BAD_LEN: [
    ['ONF', 4, 4, 2308],
    ['OF', 5, 6, 17, 8],
  ],
  OFPBFC_MSG_BAD_XID: [
    ['ONF', 4, 4, 2309],
    ['OF', 5, 6, 17, 9],
  ],
  OFPBFC_MSG_UNSUP: [
    ['ONF', 4, 4, 2310],
    ['OF', 5, 6, 17, 10],
  ],
  OFPBFC_MSG_CONFLICT: [
    ['ONF', 4, 4, 2311],
    ['OF', 5, 6, 17, 11],
  ],
  OFPBFC_MSG_TOO_MANY: [
    ['ONF', 4, 4, 2312],
    ['OF', 5, 6, 17, 12],
  ],
  OFPBFC_MSG_FAILED: [
    ['ONF', 4, 4, 2313],
    ['OF', 5, 6, 17, 13],
  ],
  OFPBFC_TIMEOUT: [
    ['ONF', 4, 4, 2314],
    ['OF', 5, 6, 17, 14],
  ],
  OFPBFC_BUNDLE_IN_PROGRESS: [
    ['ONF', 4, 4, 2315],
    ['OF', 5, 6, 17, 15],
  ],
  OFPBFC_SCHED_NOT_SUPPORTED: [['OF', 6, 6, 17, 16]],
  OFPBFC_SCHED_FUTURE: [['OF', 6, 6, 17, 17]],
  OFPBFC_SCHED_PAST: [['OF', 6, 6, 17, 18]],
  OFPBFC_BAD_VERSION: [['NX', 5, 6, 22]],
  OFPMOFC_UNKNOWN: [['OF', 5, 6, 16, 0]],
  OFPMOFC_MONITOR_EXISTS: [
    ['NX', 1, 2, 1, 517],
    ['NX', 3, 4, 6],
    ['OF', 5, 6, 16, 1],
  ],
  OFPMOFC_INVALID_MONITOR: [['OF', 5, 6, 16, 2]],
  OFPMOFC_UNKNOWN_MONITOR: [
    ['NX', 1, 2, 1, 519],
    ['NX', 3, 4, 8],
    ['OF', 5, 6, 16, 3],
  ],
  OFPMOFC_BAD_COMMAND: [['OF', 5, 6, 16, 4]],
  OFPMOFC_BAD_FLAGS: [
    ['NX', 1, 2, 1, 518],
    ['NX', 3, 4, 7],
    ['OF', 5, 6, 16, 5],
  ],
  OFPMOFC_BAD_TABLE_ID: [['OF', 5, 6, 16, 6]],
  OFPMOFC_BAD_OUT: [['OF', 5, 6, 16, 7]],
  NXTTMFC_BAD_COMMAND: [
    ['NX', 1, 2, 1, 527],
    ['NX', 3, 6, 16],
  ],
  NXTTMFC_BAD_OPT_LEN: [
    ['NX', 1, 2, 1, 528],
    ['NX', 3, 6, 17],
  ],
  NXTTMFC_BAD_FIELD_IDX: [
    ['NX', 1, 2, 1, 529],
    ['NX', 3, 6, 18],
  ],
  NXTTMFC_TABLE_FULL: [
    ['NX', 1, 2, 1, 530],
    ['NX', 3, 6, 19],
  ],
  NXTTMFC_ALREADY_MAPPED: [
    ['NX', 1, 2, 1, 531],
    ['NX', 3, 6, 20],
  ],
  NXTTMFC_DUP_ENTRY: [
    ['NX', 1, 2, 1, 532],
    ['NX', 3, 6, 21],
  ],
  NXTTMFC_INVALID_TLV_DEL: [
    ['NX', 1, 2, 1, 537],
    ['NX', 3, 6, 38],
  ],
  NXR_NOT_SUPPORTED: [
    ['NX', 1, 2, 1, 533],
    ['NX', 3, 6, 34],
  ],
  NXR_STALE: [
    ['NX', 1, 2, 1, 534],
    ['NX', 3, 6, 35],
  ],
  NXST_NOT_CONFIGURED: [
    ['NX', 1, 2, 1, 535],
    ['NX', 3, 6, 36],
  ],
} as const satisfies Record<string, readonly OfErrorSpec[]>;

export type OfErrorName = keyof typeof OF_ERRORS;
