// Events into an HVM vCPU, through the engine.
import { CpuState, EVENT, EXIT, HVM_PARAM, VEC } from "../abi";
import { domain_crash } from "../crash";
import { Vcpu } from "../domain";
import { hvm_inject } from "../engine";
import { enter_guest_memory, leave_guest_memory } from "../shootdown";
import { domain_shutdown } from "../shutdown";
import { rendezvous } from "../traps/traps";
import { hvm_param } from "./params";

function inject(v: Vcpu, vector: u32, event: u32, has_error: u32, error: u32): bool {
  enter_guest_memory();
  const done = hvm_inject(v.cpu, vector, event, has_error, error) != 0;
  leave_guest_memory();
  return done;
}

/** Delivers an event to the current vCPU. False: it could not be, and the domain has been stopped for it. */
export function hvm_deliver(v: Vcpu, vector: u32, event: u32, has_error: u32, error: u32): bool {
  while (!inject(v, vector, event, has_error, error)) {
    switch (load<u32>(v.cpu, CpuState.exit_reason)) {
      case EXIT.RENDEZVOUS:
        rendezvous(v, load<u32>(v.cpu, CpuState.exit_vector), load<u32>(v.cpu, CpuState.exit_error));
        break;
      case EXIT.TRIPLE_FAULT:
        hvm_triple_fault(v);
        return false;
      default:
        domain_crash(v.domain, "an event could not be delivered: its stack or descriptors lie where no memory is");
        return false;
    }
  }
  return true;
}

export function hvm_inject_gp(v: Vcpu): void {
  hvm_deliver(v, VEC.GP, EVENT.EXCEPTION, 1, 0);
}

/** Shutdown: what the toolstack chose (HVM_PARAM_TRIPLE_FAULT_REASON), a reboot unless it did. */
export function hvm_triple_fault(v: Vcpu): void {
  domain_shutdown(v.domain, <u32>hvm_param(v.domain, HVM_PARAM.TRIPLE_FAULT_REASON));
}
