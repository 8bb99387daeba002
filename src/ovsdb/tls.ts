import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { isIP } from 'node:net';
import type { DetailedPeerCertificate, SecureContextOptions, TLSSocket } from 'node:tls';
import * as tls from 'node:tls';

/** What Open vSwitch's `--private-key`, `--certificate`, `--ca-cert` and so on say: names of PEM files. */
export interface TlsConfig {
  readonly privateKey?: string | undefined;
  readonly certificate?: string | undefined;
  /** `none`: the peer is not verified. */
  readonly caCert?: string | undefined;
  /** When the file of `caCert` is not there yet, the first peer's CA is believed and written to it. */
  readonly bootstrapCaCert?: boolean | undefined;
  /** A CA certificate to send along, for peers that bootstrap. */
  readonly peerCaCert?: string | undefined;
  /** `TLSv1`, `TLSv1.1`, `TLSv1.2`, `TLSv1.3`, comma-separated. */
  readonly protocols?: string | undefined;
  /** In OpenSSL's syntax. */
  readonly ciphers?: string | undefined;
}

const VERSIONS = ['TLSv1', 'TLSv1.1', 'TLSv1.2', 'TLSv1.3'] as const;

function readPem(path: string | undefined): Buffer | undefined {
  return path === undefined ? undefined : readFileSync(path);
}

/** A text that changes when other files are named, or when one of them is written anew. */
export function tlsFingerprint(config: TlsConfig): string {
  const files = [config.privateKey, config.certificate, config.caCert, config.peerCaCert];
  const times = files.map((file) => file && statSync(file, { throwIfNoEntry: false })?.mtimeMs);
  return JSON.stringify([config, times]);
}

function isBootstrapping({ bootstrapCaCert, caCert }: TlsConfig): boolean {
  return Boolean(bootstrapCaCert) && caCert !== undefined && !existsSync(caCert);
}

function verifies(config: TlsConfig): boolean {
  return config.caCert !== 'none' && !isBootstrapping(config);
}

/** Reads the files anew. Throws a system error or what OpenSSL says of them. */
function secureContext(config: TlsConfig): SecureContextOptions {
  const certificate = readPem(config.certificate);
  const peerCa = readPem(config.peerCaCert);
  const options: SecureContextOptions = {
    key: readPem(config.privateKey),
    cert: certificate && peerCa ? Buffer.concat([certificate, Buffer.from('\n'), peerCa]) : certificate,
    ca: verifies(config) ? readPem(config.caCert) : undefined,
    ciphers: config.ciphers,
  };
  return { ...options, ...versions(config.protocols) };
}

function versions(protocols: string | undefined): SecureContextOptions {
  const wanted = VERSIONS.filter((version) => protocols?.split(/[, ]+/).includes(version));
  return wanted.length === 0 ? {} : { minVersion: wanted[0], maxVersion: wanted.at(-1) };
}

/** One outgoing connection. */
export class TlsClient {
  private readonly config: TlsConfig;
  private readonly bootstraps: boolean;

  constructor(config: TlsConfig) {
    this.config = config;
    this.bootstraps = isBootstrapping(config);
  }

  connect(host: string, port: number): TLSSocket {
    const options = secureContext(this.config);
    // Open vSwitch identifies a peer by its CA alone; its certificates carry no host names.
    const checkServerIdentity = () => undefined;
    return tls.connect({
      ...options,
      host,
      port,
      ...(isIP(host) ? {} : { servername: host }),
      checkServerIdentity,
      rejectUnauthorized: verifies(this.config),
    });
  }

  /** When bootstrapping: saves the peer's CA and gives up this connection (the next one is verified). Throws then. */
  checkPeer(socket: TLSSocket): void {
    if (!this.bootstraps) return;
    const problem = saveCa(socket, this.config.caCert!);
    socket.destroy();
    throw Object.assign(new Error(problem ?? 'CA certificate was bootstrapped; connecting again'), { code: 'EPROTO' });
  }
}

/** Incoming connections. */
export class TlsServer {
  readonly server: tls.Server;
  private config: TlsConfig;
  private readonly log: { warn(text: string): void; debug?(text: string): void };
  private accept: (socket: TLSSocket) => void = () => {};

  /** Throws when the key files cannot be read. */
  constructor(config: TlsConfig, log: { warn(text: string): void; debug?(text: string): void }) {
    this.config = config;
    this.log = log;
    // Every connection is judged in `connected`, so that the way to judge can change while the server listens.
    this.server = tls.createServer({ ...secureContext(config), requestCert: true, rejectUnauthorized: false });
    this.server.on('secureConnection', (socket) => this.connected(socket));
    this.server.on('tlsClientError', (error, socket) => this.refused(error, socket));
  }

  onConnection(accept: (socket: TLSSocket) => void): void {
    this.accept = accept;
  }

  update(config: TlsConfig): void {
    try {
      this.server.setSecureContext(secureContext(config));
      this.config = config;
    } catch (error) {
      this.log.warn(`cannot use the new SSL configuration: ${(error as Error).message}`);
    }
  }

  private connected(socket: TLSSocket): void {
    // A name that the client asked for (SNI); the types know it for clients only.
    const { servername } = socket as TLSSocket & { servername?: string | false };
    if (servername) this.log.debug?.(`connection indicated server name ${servername}`);
    if (isBootstrapping(this.config)) {
      const problem = saveCa(socket, this.config.caCert!);
      this.log.warn(problem ?? `successfully bootstrapped CA cert to ${this.config.caCert}`);
      this.update(this.config);
      socket.destroy();
    } else if (!socket.authorized && verifies(this.config)) {
      this.log.warn(`SSL_accept: ${socket.authorizationError}`);
      socket.destroy();
    } else {
      this.accept(socket.setNoDelay(true));
    }
  }

  private refused(error: Error, socket: Socket): void {
    this.log.warn(`SSL_accept: ${error.message}`);
    socket.destroy();
  }
}

/** Writes the self-signed certificate at the end of the peer's chain to `path`. Returns what is wrong, if anything. */
function saveCa(socket: TLSSocket, path: string): string | undefined {
  let certificate: DetailedPeerCertificate | undefined = socket.getPeerCertificate(true);
  if (!certificate?.raw) return 'could not bootstrap CA cert: no certificate presented by peer';
  while (certificate.issuerCertificate && certificate.issuerCertificate !== certificate) {
    certificate = certificate.issuerCertificate;
  }
  if (!certificate.issuerCertificate) {
    return 'could not bootstrap CA cert: last certificate presented by peer is not self-signed';
  }
  const lines = certificate.raw.toString('base64').match(/.{1,64}/g)!;
  const pem = `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
  try {
    writeFileSync(path, pem, { flag: 'wx', mode: 0o644 });
    return undefined;
  } catch (error) {
    return `could not bootstrap CA cert: creating ${path} failed: ${(error as Error).message}`;
  }
}
