import { TRIGGERS, type Trigger } from '../../dom0/toolstack/control.ts';
import { CommandError } from '../command.ts';
import { domainCommand } from '../simple.ts';

export const trigger = domainCommand({
  name: 'trigger',
  summary: 'Send a trigger to a domain',
  usage: '<Domain> <nmi|reset|init|power|sleep|s3resume> [<VCPU>]',
  more: 1,
  act(client, { domid }, [name, vcpu = '0']) {
    if (!TRIGGERS.includes(name as Trigger)) throw new CommandError(`Invalid trigger "${name}"`);
    if (!/^\d+$/.test(vcpu)) throw new CommandError(`Invalid vcpuid "${vcpu}"`);
    return client.call('domain.trigger', { domain: domid, trigger: name as Trigger, vcpu: Number(vcpu) });
  },
});
