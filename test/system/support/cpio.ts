/** Writes a "newc" cpio archive, the form of a Linux initramfs (kernel documentation, driver-api/early-userspace/buffer-format). */

export interface ArchiveFile {
  /** Without a leading slash. Folders that lead to it must stand before it. */
  name: string;
  /** File type and permissions as in stat(2). */
  mode: number;
  content?: Uint8Array | string;
  /** Device numbers of a device node. */
  device?: { major: number; minor: number };
}

export const S_IFDIR = 0o040000;
export const S_IFCHR = 0o020000;
export const S_IFREG = 0o100000;

const TRAILER: ArchiveFile = { name: 'TRAILER!!!', mode: 0 };

export function cpioArchive(files: readonly ArchiveFile[]): Buffer {
  return Buffer.concat([...files, TRAILER].map((file, i) => entry(file, i + 1)));
}

/** A header of 110 characters, the name with a NUL, the content; name and content end at a multiple of 4. */
function entry(file: ArchiveFile, inode: number): Buffer {
  const content = Buffer.from(file.content ?? '');
  const name = Buffer.from(`${file.name}\0`);
  const { major = 0, minor = 0 } = file.device ?? {};
  // ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor, namesize, check
  const fields = [inode, file.mode, 0, 0, 1, 0, content.length, 0, 0, major, minor, name.length, 0];
  const header = Buffer.from(`070701${fields.map((value) => value.toString(16).padStart(8, '0')).join('')}`);
  return Buffer.concat([padded(Buffer.concat([header, name])), padded(content)]);
}

function padded(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, Buffer.alloc(-bytes.length & 3)]);
}
