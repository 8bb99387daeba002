export { formatFlow, packetWildcards } from '../openflow/flow-format.ts';
