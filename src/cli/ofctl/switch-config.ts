import { decode } from '../../openflow/codec.ts';
import type { SwitchConfig } from '../../openflow/messages.ts';
import { encodeRequest, transactNoreply } from './client.ts';
import type { OfctlContext } from './context.ts';
import { Fatal } from './fatal.ts';
import type { Vconn } from './vconn.ts';

/** What OFPT_GET_CONFIG and OFPT_SET_CONFIG are about. */

export async function fetchSwitchConfig(vconn: Vconn): Promise<SwitchConfig> {
  const result = decode(await vconn.transact(encodeRequest(vconn, { type: 'get_config_request' })));
  if (!result.ok || result.value.message.type !== 'get_config_reply')
    throw new Fatal(`${vconn.name}: bad reply to config request`);
  const { type: _, ...config } = result.value.message;
  return config;
}

export async function setSwitchConfig(c: OfctlContext, vconn: Vconn, config: SwitchConfig): Promise<void> {
  await transactNoreply(c, vconn, encodeRequest(vconn, { type: 'set_config', ...config }));
}
