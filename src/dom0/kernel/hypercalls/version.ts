/** xen_version (public/version.h): what `xl info` prints about the hypervisor. */
import { CompileInfo, FeatureInfo, PlatformParameters, XENVER, XENVER_LEN } from '../../../abi/version.ts';
import { HYPERCALL } from '../../../abi/xen.ts';
import type { Hypercalls } from '../hypercalls.ts';

export class VersionCalls {
  private readonly xen: Hypercalls;

  constructor(xen: Hypercalls) {
    this.xen = xen;
  }

  private text(at: number, length: number): string {
    const data = this.xen.memory.read(at, length);
    const end = data.indexOf(0);
    return new TextDecoder().decode(end < 0 ? data : data.subarray(0, end));
  }

  private query(name: keyof typeof XENVER, at = 0): bigint {
    return this.xen.call(`xen_version ${name}`, HYPERCALL.xen_version, XENVER[name], at);
  }

  private string(name: keyof typeof XENVER_LEN): string {
    return this.xen.scratch((s) => {
      const at = s.bytes(XENVER_LEN[name]);
      this.query(name, at);
      return this.text(at, XENVER_LEN[name]);
    });
  }

  version(): { major: number; minor: number } {
    const v = Number(this.query('version'));
    return { major: v >>> 16, minor: v & 0xffff };
  }

  extraVersion(): string {
    return this.string('extraversion');
  }

  capabilities(): string {
    return this.string('capabilities').trim();
  }

  changeset(): string {
    return this.string('changeset');
  }

  commandLine(): string {
    return this.string('commandline');
  }

  pageSize(): number {
    return Number(this.query('pagesize'));
  }

  compileInfo(): { compiler: string; by: string; domain: string; date: string } {
    return this.xen.scratch((s) => {
      const c = s.struct(CompileInfo);
      this.query('compile_info', c.address);
      return {
        compiler: this.text(c.at('compiler'), 64),
        by: this.text(c.at('compile_by'), 16),
        domain: this.text(c.at('compile_domain'), 32),
        date: this.text(c.at('compile_date'), 32),
      };
    });
  }

  /** Where the hypervisor's addresses begin in a PV guest. */
  virtStart(): bigint {
    return this.xen.scratch((s) => {
      const p = s.struct(PlatformParameters);
      this.query('platform_parameters', p.address);
      return p.big('virt_start');
    });
  }

  /** Bits of XENFEAT. */
  features(): number {
    return this.xen.scratch((s) => {
      const f = s.struct(FeatureInfo);
      this.query('get_features', f.address);
      return f.get('submap');
    });
  }
}
