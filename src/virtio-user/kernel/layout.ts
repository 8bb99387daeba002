/**
 * Where the driver keeps its own state in its WebAssembly memory. This one file is compiled twice, as TypeScript and as
 * AssemblyScript, so that both sides have the same numbers; it must stay free of type annotations.
 *
 *     0        CONTROL   words that the lcore and the kernel share
 *     PORTS    MAX_PORTS structures of PORT_STRIDE bytes
 *     BURST    buffer numbers of the burst in hand
 *     STREAMS  pairs of port numbers that a forward mode works on
 *     HEAP     rings' private arrays, packet templates, buffer lists; placed by guest-memory.ts
 *     …        then the part that is shared with the switch: rings and packet buffers
 *
 * All numbers are bytes unless a comment says otherwise. Words are little endian, as WebAssembly is.
 */

/** u32: 1 when some ring's VQ_KICK is set. */
export const KICKS_PENDING = 1024;
/** u32: 1 asks the kernel to return after the pass in hand. Written by any thread. */
export const INTERRUPT = 1028;

/** The pool of packet buffers: first buffer's address, how many there are, the free list (u32 numbers) and its length. */
export const POOL_BASE = 1088;
export const POOL_COUNT = 1092;
export const POOL_STACK = 1096;
export const POOL_FREE = 1100;
/** Address of 8 bytes a buffer: BUF_LEN and BUF_NEXT. */
export const POOL_META = 1104;
/** In the buffer's META entry: u32 bytes of packet data in this buffer; u32 number + 1 of the next segment, or 0. */
export const BUF_LEN = 0;
export const BUF_NEXT = 4;

/**
 * A buffer: 52 bytes of headroom, the virtio_net_hdr, then the frame, on a cache line of its own. In the second and later segments
 * of a packet the data starts at BUF_HDR.
 */
export const BUF_STRIDE = 2304;
export const BUF_HDR = 52;
export const HDR_SIZE = 12;
export const BUF_DATA = 64;
export const BUF_ROOM = 2240;
/** Offset of virtio_net_hdr.num_buffers. */
export const HDR_NUM_BUFFERS = 10;

export const MAX_BURST = 512;
/** u32 buffer numbers of received packets, and of packets that a forward mode wants to send. */
export const BURST = 2048;
export const BURST_OUT = 4096;
/** Pairs of u32: rx port, tx port. */
export const STREAMS = 6144;
export const MAX_STREAMS = 64;

export const PORTS = 8192;
export const MAX_PORTS = 32;
export const PORT_STRIDE = 2048;
export const HEAP = 73728;

/** A virtqueue's driver state, at PORT_RX and PORT_TX of its port. */
export const VQ_SIZE = 0;
/** Addresses of the three parts of a split ring. */
export const VQ_DESC = 4;
export const VQ_AVAIL = 8;
export const VQ_USED = 12;
/** The avail index that is published next, and the used index up to which buffers were taken back (free-running u16). */
export const VQ_AVAIL_IDX = 16;
export const VQ_USED_IDX = 20;
/** Descriptors that are free, as a stack of u16. */
export const VQ_FREE = 24;
export const VQ_FREE_STACK = 28;
/** u32 a descriptor: number + 1 of the buffer it carries; u16 a descriptor: the next of its chain or CHAIN_END. */
export const VQ_SLOTS = 32;
export const VQ_LINKS = 36;
/** 1 when the device must be kicked. */
export const VQ_KICK = 40;
/** One of VQ_OK, VQ_BAD_USED_INDEX, …: why the ring is not used any more. */
export const VQ_BROKEN = 44;
/** 1 while the ring may be touched. */
export const VQ_LIVE = 48;
export const VQ_BYTES = 64;
export const CHAIN_END = 65535;

export const VQ_OK = 0;
/** used->idx went further than the descriptors that were made available. */
export const VQ_BAD_USED_INDEX = 1;
/** A used element names a descriptor that the device does not hold. */
export const VQ_BAD_USED_ID = 2;
/** A used element's length is beyond its buffer or shorter than the header. */
export const VQ_BAD_USED_LEN = 3;
/** num_buffers says more than the device gave. */
export const VQ_BAD_NUM_BUFFERS = 4;

/** Offsets in a port's structure. */
export const PORT_RX = 0;
export const PORT_TX = 64;
/** The port's own MAC and that of its peer, 6 bytes each. */
export const PORT_MAC = 128;
export const PORT_PEER_MAC = 136;
/** u64 counters. */
export const STATS = 192;
export const RX_PACKETS = 192;
export const RX_BYTES = 200;
export const RX_ERRORS = 208;
export const RX_NO_BUFFER = 216;
export const TX_PACKETS = 224;
export const TX_BYTES = 232;
/** Frames that a forward mode could not put into the ring. */
export const TX_DROPPED = 240;
/** Frames that were in the tx ring, not yet taken, when the switch went away. */
export const TX_ABORTED = 248;
/** Received frames that the mode ends by design: rxonly, txonly, flowgen, or no answer in icmpecho. */
export const RX_CONSUMED = 256;
export const STATS_BYTES = 72;

/** The port's generator. u32: frames that may be sent now; u64: frames left of `count`. */
export const GEN_CREDIT = 320;
export const GEN_LEFT = 328;
/** Table of (u32 address, u32 size) templates, how many, and which is next. */
export const GEN_TEMPLATES = 336;
export const GEN_N_TEMPLATES = 340;
export const GEN_NEXT = 344;
/** How many ranges stand at GEN_RANGES, and where in the template their checksums lie (0: none). */
export const GEN_N_RANGES = 348;
export const GEN_IP_SUM = 352;
export const GEN_L4_SUM = 356;
/** u32: sums of the 16-bit words that stay the same, not folded. */
export const GEN_IP_BASE = 360;
export const GEN_L4_BASE = 364;
/** 1 when a computed L4 checksum of 0 is sent as 0xffff (UDP). */
export const GEN_L4_IS_UDP = 368;
export const GEN_RANGES = 384;
export const MAX_RANGES = 16;

/** A field that varies from frame to frame. u32 offset in the frame; u32 width: 1, 2, 4, 6 or 8 bytes, or RANGE_SIZE. */
export const RANGE_OFFSET = 0;
export const RANGE_WIDTH = 4;
/** Which checksums cover it: SUM_IP, SUM_L4. */
export const RANGE_SUMS = 8;
/** u64 values. */
export const RANGE_NOW = 16;
export const RANGE_MIN = 24;
export const RANGE_MAX = 32;
export const RANGE_INC = 40;
/** A second place where `value - RANGE_BIAS` goes as 16 bits (0: none); for RANGE_SIZE the L4 length. */
export const RANGE_OFFSET2 = 48;
export const RANGE_BIAS = 52;
export const RANGE_BIAS2 = 56;
export const RANGE_STRIDE = 64;
/** The "width" of a range over frame sizes. */
export const RANGE_SIZE = 0;
export const SUM_IP = 1;
export const SUM_L4 = 2;

/** Forward modes. */
export const FWD_IO = 0;
export const FWD_MAC = 1;
export const FWD_MACSWAP = 2;
export const FWD_RXONLY = 3;
export const FWD_TXONLY = 4;
export const FWD_FLOWGEN = 5;
export const FWD_ICMPECHO = 6;

export const DESC_F_NEXT = 1;
export const DESC_F_WRITE = 2;
/** avail->flags and used->flags. */
export const AVAIL_F_NO_INTERRUPT = 1;
export const USED_F_NO_NOTIFY = 1;
