/**
 * The arena: one shared WebAssembly memory that every thread of the switch sees, made of offsets, never pointers. `STRUCTS` are its records,
 * `REGIONS` where they lie. `tools/gen` writes the offsets for TypeScript and for AssemblyScript. Native (little-endian) order; every word has
 * one writer: `ctl` the control thread, `pmd` the thread that owns the record.
 *
 * A change of any row here is a change of `ARENA_VERSION`: a successor process maps the same bytes.
 */
import { FLOW_KEY_WORDS } from './flow-key.ts';

export const ARENA_VERSION = 7;
export const ARENA_MAGIC = 0x54524e41; // "ANRT"
export const KEY_SIZE = FLOW_KEY_WORDS.length * 8;

/** Limits; each is the count of a region. */
export const LIMITS = {
  THREADS_MAX: 16,
  PORTS_MAX: 512,
  GUESTS_MAX: 256,
  VRINGS_MAX: 2048,
  FLOWS_MAX: 1 << 20,
  SUBTABLES_MAX: 4096,
  BATCH_MAX: 32,
  RXQS_MAX: 256,
  REGIONS_MAX: 8,
  TXQS_MAX: 16,
  PACKET_HEADROOM: 128,
  /** Longest frame that fits a slot; a longer one is big: what of it does not stay in the sender's memory goes into a big slot. */
  FRAME_MAX: 2048,
  /** Longest frame: an IPv4 packet of 65,535 bytes, Ethernet header and one tag. */
  BIG_FRAME_MAX: 65553,
  /** Longest segment that is made in software: Open vSwitch's longest frame. */
  SEGMENT_MAX: 9728,
  /** Bytes of a big frame that are copied into its slot at once: all headers of nearly every packet. */
  SNAP_SIZE: 256,
  /** Pieces of a tail, and descriptors of one packet: Linux uses up to 19, DPDK's vhost library takes 256. */
  TAIL_PIECES_MAX: 256,
  EMC_ENTRIES: 4096,
  SMC_BUCKETS: 4096,
  SMC_WAYS: 10,
  DROP_REASONS_MAX: 64,
  UPCALL_RING_SIZE: 1 << 20,
  /** Bytes of the ring that only misses may use: a flood to ports without a ring does not keep new flows from being answered. */
  UPCALL_MISS_RESERVE: 1 << 18,
  /** Bytes of upcalls above which queues that miss are left alone until the control thread has caught up. */
  UPCALL_BACKLOG: 64 << 10,
  /** For how many ms of nine times as many a queue is left alone at most: above, it is polled, and its misses are dropped. */
  UPCALL_WAIT_MS: 2000,
  BUCKET_WAYS: 7,
  /** How deep `clone` may nest. */
  CLONE_DEPTH_MAX: 10,
  GROUP_TABLE_SIZE: 128,
  /** How often a packet may be recirculated (Open vSwitch's MAX_RECIRC_DEPTH). */
  RECIRC_DEPTH_MAX: 6,
  METERS_MAX: 1 << 18,
  METER_BANDS_MAX: 8,
  BONDS_MAX: 256,
  /** Buckets that a bond spreads its packets over by hash. */
  BOND_BUCKETS: 256,
} as const;

type Row = readonly [name: string, bytes: number, doc?: string];

export const STRUCTS: Readonly<Record<string, { align: number; rows: readonly Row[] }>> = {
  /** Page 0. */
  HEADER: {
    align: 4096,
    rows: [
      ['MAGIC', 4],
      ['VERSION', 4],
      ['EPOCH', 4, 'ctl: RCU epoch; a thread copies it at each quiescent point'],
      ['NTHREADS', 4],
      ['EMC_INSERT_MIN', 4, 'ctl: a random u32 below this inserts into the EMC'],
      ['SMC_ENABLE', 4, 'ctl'],
      ['NOTIFY', 4, 'any thread adds 1 and notifies when its upcall ring got something'],
      ['VLAN_LIMIT', 4, 'ctl: VLAN tags that extract looks into (other_config:vlan-limit), at most 2'],
      ['TUNNEL_PORT_MIN', 4, 'ctl: UDP source ports of tunnels start here'],
      ['TUNNEL_PORT_SPAN', 4, 'ctl: and are below this many more'],
      ['HASH_SEED', 8, 'ctl: random, so that nobody can choose flows that share a bucket'],
    ],
  },
  /** A port of the datapath, by odp port number. Written by ctl. */
  PORT: {
    align: 128,
    rows: [
      ['KIND', 4, 'PORT_KIND_*'],
      ['NTXQS', 4, 'vhost: number of receive rings of the guest that can be filled'],
      ['DPCLS', 4, 'offset of the list of subtables for packets that come in here (0: none)'],
      ['DPCLS_RECIRC', 4, 'the same for packets that came in here and were recirculated'],
      ['TX_SLOT', 4, "index of the guest's tx function in the function table"],
      ['TXQ', 64, 'vhost: offset of the vring of each tx queue, u32 × TXQS_MAX'],
      ['TX_LOCKED', 4, 'more threads than tx queues: take the ring lock'],
      ['MAX_FRAME', 4, 'longest frame that may leave here'],
      ['OFFLOADS', 4, 'OFFLOAD_* of what may be left to be done to a frame that leaves here'],
      ['SIMPLE', 4, '1 when all its megaflows look at no more than the port, Ethertype, tag and fragmentation'],
      ['TUNNEL', 4, 'TUNNEL_*: what comes out of packets that are popped into this port; 0: the control thread knows'],
    ],
  },
  PORT_STATS: {
    align: 128,
    rows: [
      ['RX_PACKETS', 8],
      ['RX_BYTES', 8],
      ['TX_PACKETS', 8],
      ['TX_BYTES', 8],
      ['RX_DROPPED', 8],
      ['TX_DROPPED', 8],
      ['RX_ERRORS', 8],
      ['TX_RING_FULL', 8],
      ['TX_BAD', 8],
      ['RX_BAD_DESC', 8],
      ['RX_OVERSIZE', 8],
      ['RX_BAD_HDR', 8],
    ],
  },
  /** A split ring of a guest, or the ring of a packet socket (src/fastpath/tpacket.ts), whose next slot is LAST_AVAIL. */
  VRING: {
    align: 128,
    rows: [
      ['DESC', 4, 'ctl: offsets in the guest memory'],
      ['AVAIL', 4],
      ['USED', 4],
      ['SIZE', 4, 'power of two'],
      ['HDR_SIZE', 4],
      ['FLAGS', 4, 'VRING_F_*'],
      ['PORT', 4, 'odp port'],
      ['REGIONS', 4, 'offset of the guest region table'],
      ['LAST_AVAIL', 4, 'owner: next avail entry, free-running u16'],
      ['LAST_USED', 4, 'owner: next used entry, free-running u16'],
      ['CALL_PENDING', 4, 'owner: the guest wants an interrupt'],
      ['BROKEN', 4, 'owner: VRING_BROKEN_*'],
      ['LOCK', 4, 'tx by several threads'],
      ['STARTED', 4, 'ctl: 1 while the ring may be processed'],
      ['KICK_WANTED', 4, 'owner: notifications are on'],
      ['RX_SLOT', 4, "index of the guest's rx function in the function table"],
      ['FRAME_SIZE', 4, 'ring of a packet socket: bytes of a slot; slot i lies at DESC + i × FRAME_SIZE'],
      [
        'SEG_NEXT',
        4,
        'owner, ring of a packet socket: payload bytes of the frame at LAST_AVAIL that went on as segments already',
      ],
      ['GUEST', 4, 'ctl: whose ring it is'],
      ['OFFLOADS', 4, 'ctl: OFFLOAD_* of what the guest may leave to the switch, or takes from it'],
      [
        'UMEM',
        4,
        'ctl, ring of an AF_XDP socket: of the first of the SIZE chunks of FRAME_SIZE bytes that are of this ring',
      ],
      ['UMEM_BASE', 4, 'ctl, the same: what the kernel calls that chunk'],
      ['BACK_DESC', 4, 'ctl, the same: the ring that chunks go back by, fill or completion'],
      ['BACK_PRODUCER', 4],
      ['BACK_CONSUMER', 4],
      ['WAKEUP', 4, 'ctl, the same: the word that says whether the kernel wants a call'],
      [
        'FREE',
        4,
        'ctl, the same, tx: the stack of free chunks, SEG_NEXT of them, and behind it a word a chunk: 1 while the kernel has it',
      ],
    ],
  },
  /** The mapped regions of one guest. Written by ctl while no thread uses the guest. */
  REGION_TABLE: {
    align: 64,
    rows: [
      ['COUNT', 4],
      ['PAD', 4],
      ['ENTRIES', 8 * 24],
    ],
  },
  REGION: {
    align: 8,
    rows: [
      ['GPA', 8],
      ['SIZE', 8],
      ['OFFSET', 8],
    ],
  },
  /** A subtable of the datapath classifier: all flows with one mask. Written by ctl. */
  SUBTABLE: {
    align: 64,
    rows: [
      ['BUCKETS', 4, 'offset of the bucket array'],
      ['BUCKET_MASK', 4, 'buckets − 1'],
      ['NWORDS', 4, 'words of the key that the mask looks at'],
      ['LONG', 4, '1 when it looks beyond the short words'],
      ['NFLOWS', 4],
      ['PAD', 4],
      ['WORDS', KEY_SIZE / 8 + 4, 'index of each word, u8'],
      ['MASKS', KEY_SIZE, 'mask of each word, u64, in the same order'],
    ],
  },
  /** A bucket of a subtable: BUCKET_WAYS × (hash u32, flow index u32), then the offset of the next one. */
  BUCKET: {
    align: 64,
    rows: [
      ['HASHES', 28],
      ['FLOWS', 28],
      ['NEXT', 4],
      ['PAD', 4],
    ],
  },
  /** Packets for which a thread found their megaflow in a subtable, by the subtable's number. */
  SUBTABLE_HITS: { align: 4, rows: [['COUNT', 4, 'pmd; wraps']] },
  /** A megaflow. Written by ctl; index 0 is never used. */
  FLOW: {
    align: 64,
    rows: [
      ['GEN', 4, 'bumped when the record is freed'],
      ['DEAD', 4, '1 once it is deleted'],
      ['ACTIONS', 4, 'offset of its actions, a multiple of 64, and ACTIONS_F_* in the low bits'],
      ['SUBTABLE', 4, 'offset of its subtable'],
      ['KEY', KEY_SIZE, 'masked words, in the order of the subtable'],
    ],
  },
  /** The megaflow of a port's untagged, unfragmented IPv4 packets (src/fastpath/simple.ts). */
  SIMPLE: {
    align: 8,
    rows: [
      ['FLOW', 4],
      ['GEN', 4],
    ],
  },
  FLOW_STATS: {
    align: 32,
    rows: [
      ['PACKETS', 8],
      ['BYTES', 8],
      ['USED_MS', 8, 'f64'],
      ['TCP_FLAGS', 4],
      ['PAD', 4],
    ],
  },
  EMC_ENTRY: {
    align: 64,
    rows: [
      ['HASH', 4],
      ['FLOW', 4],
      ['GEN', 4],
      ['PAD', 4],
      ['KEY', 48],
    ],
  },
  SMC_BUCKET: {
    align: 64,
    rows: [
      ['FLOWS', 40],
      ['SIGS', 20],
      ['PAD', 4],
    ],
  },
  /** A packet in a thread's batch. */
  PKT: {
    align: 64,
    rows: [
      ['DATA', 4, 'offset of the first byte of the frame'],
      ['LEN', 4, 'of the whole frame, its tail included'],
      ['HASH', 4],
      ['FLOW', 4, 'flow index, 0: none yet'],
      ['L2_5', 2, 'offset of the first MPLS label in the frame, 0xffff: none'],
      ['L3', 2, 'offset of the network header in the frame, 0xffff: none'],
      ['L4', 2, 'offset of the transport header in the frame, 0xffff: none'],
      ['LONG', 2, '1 when the key words beyond the short ones are written'],
      ['RSS', 4, 'hash of the packet as it was received, 0: not wanted yet'],
      ['FLAGS', 4, 'PKT_F_*'],
      ['NEXT', 4, 'offset of the next packet of the same group, 0: none'],
      ['TRUNC', 4, 'how many bytes trunc has taken off the end for the next output'],
      [
        'VNET_FLAGS',
        1,
        'the virtio_net_hdr of the frame in its own order and layout, checked; all 0: nothing is left to be done to the frame',
      ],
      ['VNET_GSO_TYPE', 1],
      ['VNET_HDR_LEN', 2],
      ['VNET_GSO_SIZE', 2],
      ['VNET_CSUM_START', 2, 'offset in the frame'],
      ['VNET_CSUM_OFFSET', 2],
      [
        'CUT',
        2,
        'payload bytes of the other segments of the TCP frame that it was cut from in software; its checksum is right; 0: it was not',
      ],
      [
        'TAIL_LEN',
        4,
        "bytes of LEN that are not at DATA but still in the sender's memory; 0: the whole frame is in the slot",
      ],
      [
        'TAIL',
        4,
        "with TAIL_LEN, offset in the arena of the tail's pieces: (offset in the sender's memory, size), u32 each, checked by rx",
      ],
      ['TAIL_SLOT', 4, 'with TAIL_LEN, guest whose memory the tail is in'],
      ['KEY', KEY_SIZE, 'starts a cache line'],
    ],
  },
  SLOT: { align: 64, rows: [['BYTES', LIMITS.PACKET_HEADROOM + LIMITS.FRAME_MAX + 128]] },
  /** Where a big frame lies that had to be put together: one for each PKT. */
  BIG_SLOT: { align: 64, rows: [['BYTES', LIMITS.PACKET_HEADROOM + LIMITS.BIG_FRAME_MAX + 128]] },
  /** A segment that was cut off a frame. */
  SEG_SLOT: { align: 64, rows: [['BYTES', LIMITS.PACKET_HEADROOM + LIMITS.SEGMENT_MAX + 128]] },
  /** (offset in the sender's memory, size) of each piece of a tail; one for each packet of a batch. */
  TAIL: { align: 64, rows: [['PIECES', 8 * LIMITS.TAIL_PIECES_MAX]] },
  /** What is to leave by one port at the end of the batch. */
  TX_BATCH: {
    align: 64,
    rows: [
      ['COUNT', 4],
      ['QUEUED', 4],
      ['PKTS', 4 * LIMITS.BATCH_MAX],
    ],
  },
  /** Offset of a meter, by its id; 0: there is none. Written by ctl. */
  METER_REF: { align: 4, rows: [['AT', 4]] },
  /** A meter, in the heap. Its bands follow, those of the highest rate first. Every thread counts here. */
  METER: {
    align: 64,
    rows: [
      ['KBPS', 4, '1: rates are of kbit, 0: of packets'],
      ['NBANDS', 4],
      ['PACKETS', 8],
      ['BYTES', 8],
    ],
  },
  /** A token bucket. A token is a bit, or a thousandth of a packet. */
  METER_BAND: {
    align: 8,
    rows: [
      [
        'SPENT',
        8,
        'tokens that there would have been by now, at RATE from time 0 on, less those that are there; wraps',
      ],
      ['SIZE', 8, 'tokens that fit the bucket'],
      ['PACKETS', 8, 'dropped by this band'],
      ['BYTES', 8],
      ['RATE', 4, 'tokens a millisecond'],
      ['PAD', 4],
    ],
  },
  /** Members of a bond that `lb_output` spreads over; found from `id % BONDS_MAX` on. Written by ctl. */
  BOND: {
    align: 64,
    rows: [
      ['KEY', 4, 'its id + 1, 0: no bond'],
      ['MEMBERS', 4 * LIMITS.BOND_BUCKETS, 'port of each bucket, NO_PORT: none'],
    ],
  },
  /** Bytes that a thread sent by each bucket of the bond of that number. */
  BOND_BYTES: { align: 64, rows: [['BYTES', 8 * LIMITS.BOND_BUCKETS]] },
  /** Packets of one flow in a batch; found by flow index in a table of GROUP_TABLE_SIZE entries. */
  GROUP: {
    align: 32,
    rows: [
      ['FLOW', 4],
      ['HEAD', 4],
      ['TAIL', 4],
      ['COUNT', 4],
      ['BYTES', 4],
      ['TCP_FLAGS', 4],
    ],
  },
  GROUP_HASH: {
    align: 8,
    rows: [
      ['STAMP', 4],
      ['GROUP', 4],
    ],
  },
  RXQ: {
    align: 16,
    rows: [
      ['SLOT', 4],
      ['VRING', 4],
      ['PORT', 4],
      ['PACKETS', 4],
      ['MISSED', 4, 'pmd: RXQ_MISSED_*'],
      ['WAITED', 4, 'pmd: eighths of a ms that it was left alone, less one for each ms that it was not'],
      ['LOOKED_MS', 4, 'pmd: when WAITED was counted last, low word'],
      ['PAD', 4],
    ],
  },
  /** A record of the upcall ring; the packet follows. */
  UPCALL: {
    align: 8,
    rows: [
      ['TYPE', 4, 'UPCALL_*'],
      ['SIZE', 4, 'of the whole record, multiple of 8'],
      ['PORT', 4, 'in_port, or the port to leave by'],
      ['USERDATA', 4],
      ['LEN', 4, 'of the packet'],
      ['RSS', 4, 'of the packet, with its FLAGS'],
      ['FLAGS', 4],
      ['DEPTH', 2, 'how often it was recirculated'],
      ['LONG', 2, '1 when the key words beyond the short ones are written'],
      ['KEY', KEY_SIZE],
    ],
  },
  /** A datapath thread: index 0 is the control thread, the others PMDs. */
  THREAD: {
    align: 4096,
    rows: [
      ['EPOCH', 4, 'pmd: last epoch seen; 0xffffffff: offline'],
      ['NRXQS', 4, 'ctl, while the thread is paused'],
      ['NOW_MS', 8, 'pmd: monotonic time of this run, f64'],
      ['RNG', 4],
      ['NPKTS', 4, 'packets in the batch'],
      ['PASSES', 4, 'pmd: iterations that the last run made'],
      ['STOP', 4, 'ctl: leave run() at once'],
      ['CALLS_PENDING', 4, 'pmd: some ring has CALL_PENDING'],
      ['NDIRTY', 4, 'ports with something to send'],
      ['UPCALL_HEAD', 4, 'pmd: bytes written, free-running'],
      ['UPCALL_TAIL', 4, 'ctl: bytes read, free-running'],
      ['MISS_HEAD', 4, 'pmd: of the bytes written, those of misses; free-running'],
      ['MISS_TAIL', 4, 'ctl: and of the bytes read'],
      ['UPCALLS_NEW', 4, 'pmd: something was written since the last notify'],
      ['LAST_RXQ', 4, 'pmd: rxq index that run() was serving, for the watchdog'],
      ['LAST_TX', 4, 'pmd: vring that a tx function was filling, 0: none'],
      ['BATCH_SEQ', 4, 'pmd: stamps the groups of a batch'],
      ['RECIRC_USED', 4 * 8, 'pmd: for each depth of recirculation, how many of its records are taken'],
      ['RECIRC_DONE', 4 * 8, 'pmd: and how many of those have been looked up'],
      ['UNRELEASED', 4, 'pmd: vring whose used entries the guest may not see before the batch is through, 0: none'],
      ['PAD', 4],
      ['STAT_RX', 8, 'packets received'],
      ['STAT_RECIRC', 8],
      ['STAT_SIMPLE', 8, 'simple match hits'],
      ['STAT_EMC', 8, 'exact match hits'],
      ['STAT_SMC', 8],
      ['STAT_DPCLS', 8, 'megaflow hits'],
      ['STAT_LOOKUPS', 8, 'subtables searched for megaflow hits'],
      ['STAT_MISS', 8, 'upcalls sent'],
      ['STAT_LOST', 8, 'upcalls without room'],
      ['STAT_BATCHES', 8],
      ['STAT_TX_BATCHES', 8, 'ports that a batch had packets for'],
      ['STAT_ITERATIONS', 8],
      ['STAT_BUSY_ITERATIONS', 8],
      ['BUSY_NS', 8, 'pmd: time with packets, f64'],
      ['IDLE_NS', 8, 'pmd: time without, f64'],
      ['SLEEPS', 8, 'pmd: times that it slept, f64'],
      ['SLEEP_NS', 8, 'pmd: how long in all, f64; in neither of the others'],
      ['MASKED', KEY_SIZE, 'pmd: words of the key under the mask of the subtable that is searched'],
      ['LOOK_PKTS', 4 * LIMITS.BATCH_MAX, 'pmd: packets that are being looked up, u32'],
      ['LOOK_HASHES', 4 * LIMITS.BATCH_MAX, 'pmd: of each, its hash under the subtable that is searched'],
      ['LOOK_FOUND', 4 * LIMITS.BATCH_MAX, 'pmd: of each, the flow or EMC entry that it may have'],
      ['ASKED', 4 * LIMITS.BATCH_MAX, 'pmd: packets that dpcls is asked for, u32'],
      ['LISTS', 4 * LIMITS.BATCH_MAX, 'pmd: of each, its list of subtables; 1: asked already'],
      ['TOUCHED', 4, 'pmd: nothing; what was loaded only to be in the cache goes here'],
      ['EMC_ASKED', 4, 'pmd: packets that the EMC was asked for in this window'],
      ['EMC_FOUND', 4, 'pmd: those that it knew'],
      ['UPCALLS_SPENT', 4, 'pmd: the rxq that is being served has used up its share of upcalls: misses are dropped'],
      ['EMC_REST', 4, 'pmd: packets that it is not asked for yet, because it knew few'],
      ['DROPS', 8 * LIMITS.DROP_REASONS_MAX],
      ['DIRTY', 2 * LIMITS.PORTS_MAX, 'port numbers, u16'],
    ],
  },
};

/** Records of a thread: its batch, the spare one, one for each depth of `clone`, one for a parse beside that of the lookup, a batch for each depth of recirculation. */
const SCRATCH_PKT = LIMITS.BATCH_MAX + 1 + LIMITS.CLONE_DEPTH_MAX;
const FIRST_RECIRC_PKT = SCRATCH_PKT + 1;
const N_PKTS = FIRST_RECIRC_PKT + LIMITS.BATCH_MAX * LIMITS.RECIRC_DEPTH_MAX;

/** Where the arrays of records lie: record, count, and for per-thread arrays how often the whole is repeated. */
export const REGIONS: readonly (readonly [name: string, struct: string, count: number, perThread?: true])[] = [
  ['HEADER', 'HEADER', 1],
  ['PORTS', 'PORT', LIMITS.PORTS_MAX],
  ['REGION_TABLES', 'REGION_TABLE', LIMITS.GUESTS_MAX],
  ['VRINGS', 'VRING', LIMITS.VRINGS_MAX],
  ['SUBTABLES', 'SUBTABLE', LIMITS.SUBTABLES_MAX],
  ['THREADS', 'THREAD', LIMITS.THREADS_MAX],
  ['RXQS', 'RXQ', LIMITS.RXQS_MAX, true],
  ['PKTS', 'PKT', N_PKTS, true],
  ['SLOTS', 'SLOT', N_PKTS, true],
  ['BIG_SLOTS', 'BIG_SLOT', N_PKTS, true],
  ['TAILS', 'TAIL', LIMITS.BATCH_MAX, true],
  ['SEG_PKTS', 'PKT', LIMITS.BATCH_MAX, true],
  ['SEG_SLOTS', 'SEG_SLOT', LIMITS.BATCH_MAX, true],
  ['TX_BATCHES', 'TX_BATCH', LIMITS.PORTS_MAX, true],
  ['GROUPS', 'GROUP', LIMITS.BATCH_MAX * (1 + LIMITS.RECIRC_DEPTH_MAX), true],
  ['GROUP_TABLE', 'GROUP_HASH', LIMITS.GROUP_TABLE_SIZE, true],
  ['PORT_STATS', 'PORT_STATS', LIMITS.PORTS_MAX, true],
  ['SIMPLES', 'SIMPLE', LIMITS.PORTS_MAX, true],
  ['EMC', 'EMC_ENTRY', LIMITS.EMC_ENTRIES, true],
  ['SMC', 'SMC_BUCKET', LIMITS.SMC_BUCKETS, true],
  ['SUBTABLE_HITS', 'SUBTABLE_HITS', LIMITS.SUBTABLES_MAX, true],
  ['METERS', 'METER_REF', LIMITS.METERS_MAX],
  ['BONDS', 'BOND', LIMITS.BONDS_MAX],
  ['BOND_BYTES', 'BOND_BYTES', LIMITS.BONDS_MAX, true],
  ['UPCALLS', 'BYTE', LIMITS.UPCALL_RING_SIZE, true],
  ['FLOWS', 'FLOW', LIMITS.FLOWS_MAX],
  ['FLOW_STATS', 'FLOW_STATS', LIMITS.FLOWS_MAX, true],
  ['HEAP', 'BYTE', 256 << 20],
];

export const CONSTANTS: Readonly<Record<string, number>> = {
  ...LIMITS,
  ARENA_VERSION,
  ARENA_MAGIC,
  PORT_KIND_NONE: 0,
  PORT_KIND_VHOST: 1,
  PORT_KIND_SOFT: 2,
  VRING_F_MRG_RXBUF: 1,
  VRING_F_INDIRECT: 2,
  VRING_F_EVENT_IDX: 4,
  // Rings without a kernel behind them (type=dpdk with net_null, net_ring, net_pcap).
  VRING_F_ENDLESS: 256, // what was received stays in its slot, for the next round
  VRING_F_SINK: 512, // what is sent is counted and gone
  VRING_F_LOOP: 1024, // what is sent is received by the ring of the same slots
  // What may be left to the receiver of a frame.
  OFFLOAD_CSUM: 1,
  OFFLOAD_TSO4: 2,
  OFFLOAD_TSO6: 4,
  OFFLOAD_USO: 8,
  OFFLOAD_ECN: 16,
  // Rings of AF_XDP sockets.
  VRING_F_PARTIAL: 2048, // frames may come from a kernel that left their checksums to the device
  VRING_F_NEED_WAKEUP: 4096, // the kernel says when it wants a call; otherwise it wants one each time
  VRING_BROKEN_CHAIN: 1,
  VRING_BROKEN_INDEX: 2,
  RXQ_MISSED_NONE: 0,
  RXQ_MISSED_SOME: 1, // the last batch had misses
  RXQ_MISSED_WAITS: 2, // and now the queue is left alone
  UPCALL_MISS: 1,
  UPCALL_ACTION: 2,
  UPCALL_OUTPUT: 3,
  UPCALL_WRAP: 4,
  EPOCH_OFFLINE: 0xffffffff,
  SCRATCH_PKT,
  FIRST_RECIRC_PKT,
  NO_PORT: 0xffffffff,
  PKT_F_NO_RSS: 1, // a packet of the control thread: no device gave it a hash
  // Datapath actions: one u32 `op | words << 16`, then its operands; `words` counts the u32 after the op.
  ACT_END: 0,
  ACT_OUTPUT: 1, // port, flags
  ACT_USERSPACE: 2, // userdata id
  ACT_SET_ETH: 3, // key 12 bytes, mask 12 bytes
  ACT_SET_IPV4: 4, // key 12, mask 12
  ACT_SET_IPV6: 5, // key 40, mask 40
  ACT_SET_TP: 6, // nw_proto, key 4, mask 4
  ACT_SET_ARP: 7, // key 24 (22 used), mask 24
  ACT_SET_ICMP: 8, // key 4 (2 used), mask 4
  ACT_SET_ND: 9, // key 28, mask 28
  ACT_SET_MPLS: 10, // key 4, mask 4
  ACT_SET_META: 11, // offset in the key, key 4, mask 4
  ACT_PUSH_VLAN: 12, // tpid | tci << 16, host order
  ACT_POP_VLAN: 13,
  ACT_PUSH_MPLS: 14, // ethertype, lse
  ACT_POP_MPLS: 15, // ethertype
  ACT_TRUNC: 16, // max length
  ACT_CLONE: 17, // words of the nested list incl. its ACT_END
  ACT_DROP: 18, // drop reason
  ACT_RECIRC: 19, // id, flags
  ACT_SAMPLE: 20, // probability, words of the nested list
  ACT_CHECK_PKT_LEN: 21, // length, words if greater, words if less or equal
  ACT_HASH: 22, // HASH_*, basis, flags
  ACT_METER: 23, // id
  ACT_LB_OUTPUT: 24, // bond, flags
  ACT_PUSH_ETH: 25, // dst[6] src[6]
  ACT_POP_ETH: 26,
  ACT_PUSH_NSH: 27, // bytes, the header
  ACT_POP_NSH: 28,
  ACT_SET_NSH: 29, // key 24, mask 24
  ACT_ETHERNET_ONLY: 33, // userdata id: packets that have no Ethernet header go up with it, the others are parsed again
  HASH_L4: 0,
  HASH_SYM_L4: 1,
  SAMPLE_ALL: 0xffffffff, // a probability: every packet
  ACT_TUNNEL_PUSH: 31, // port that it goes on by, kind | flags << 8 | size of the header << 16, sum of the IPv4 header's words without length, header
  ACT_TUNNEL_POP: 32, // tunnel's port, flags, userdata id of the same for the control thread
  TUNNEL_NONE: 0,
  TUNNEL_VXLAN: 1,
  TUNNEL_GENEVE: 2,
  TUNNEL_GRE: 3,
  TUNNEL_KIND_MASK: 255,
  TUNNEL_F_GBP: 256, // of PORT_TUNNEL: VXLAN group policy is understood
  TUNNEL_PUSH_F_CSUM: 1, // there is a checksum over the payload
  TUNNEL_PUSH_F_LOOK: 2, // what follows looks at the new headers
  ACTIONS_F_PLAIN: 1, // the list only sends the packet on or drops it: it needs no parsed header
  ACTIONS_F_RECIRC: 2, // the list recirculates a packet once at most
  ACTIONS_F_RECIRC_MANY: 4, // up to BATCH_MAX times
  ACTIONS_F_SEGMENTS: 8, // a packet whose segments are to be cut is cut before: the list encapsulates packets, or truncates them
  ACTIONS_F_MASK: 63,
  ACT_F_LAST_USE: 1, // nothing after this output changes the packet: it may wait for the end of the batch. Of `recirc`: nothing uses the packet after it
  ACT_F_CHANGED: 2, // headers may be other ones than when the packet was looked up
};
