/** `turnout bench`: the harness is in bench/, apart from what ships. */
export { main } from '../../bench/main.ts';
