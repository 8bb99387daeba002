/**
 * Coverage for the fuzzer: a load hook that compiles the project's own modules with a counter at the start of every branch. The
 * counters are a byte each in one shared array, `coverage()`; two sites never share one. Register before the target is imported.
 */
import { readFileSync } from 'node:fs';
import { registerHooks } from 'node:module';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

/** Room for the counters of every module that a target reaches. */
const MAX_SITES = 1 << 17;
const ARRAY = '__turnoutHits';

let sites = 0;
const hits = new Uint8Array(MAX_SITES);
(globalThis as Record<string, unknown>)[ARRAY] = hits;

/** The counters of the sites known so far; they wrap. The caller clears them. */
export const coverage = (): Uint8Array => hits.subarray(0, sites);

/** `hits[n]++`, with the next number. */
function count(f: ts.NodeFactory): ts.Expression {
  if (sites === MAX_SITES) throw new Error(`more than ${MAX_SITES} branches: raise MAX_SITES`);
  return f.createPostfixIncrement(f.createElementAccessExpression(f.createIdentifier(ARRAY), sites++));
}

/** Counts before an expression that may not be reached. */
const counted = (f: ts.NodeFactory, e: ts.Expression): ts.Expression =>
  f.createParenthesizedExpression(f.createComma(count(f), f.createParenthesizedExpression(e)));

const LOGICAL = new Set([
  ts.SyntaxKind.AmpersandAmpersandToken,
  ts.SyntaxKind.BarBarToken,
  ts.SyntaxKind.QuestionQuestionToken,
]);

function instrumentNode(f: ts.NodeFactory, node: ts.Node): ts.Node {
  const stop = (): ts.Statement => f.createExpressionStatement(count(f));
  const block = (s: ts.Statement): ts.Statement =>
    ts.isBlock(s) ? f.updateBlock(s, [stop(), ...s.statements]) : f.createBlock([stop(), s]);
  if (ts.isIfStatement(node))
    return f.updateIfStatement(
      node,
      node.expression,
      block(node.thenStatement),
      node.elseStatement ? block(node.elseStatement) : f.createBlock([stop()]),
    );
  if (ts.isForStatement(node))
    return f.updateForStatement(node, node.initializer, node.condition, node.incrementor, block(node.statement));
  if (ts.isForOfStatement(node))
    return f.updateForOfStatement(node, node.awaitModifier, node.initializer, node.expression, block(node.statement));
  if (ts.isWhileStatement(node)) return f.updateWhileStatement(node, node.expression, block(node.statement));
  if (ts.isCaseClause(node)) return f.updateCaseClause(node, node.expression, [stop(), ...node.statements]);
  if (ts.isDefaultClause(node)) return f.updateDefaultClause(node, [stop(), ...node.statements]);
  if (ts.isConditionalExpression(node))
    return f.updateConditionalExpression(
      node,
      node.condition,
      node.questionToken,
      counted(f, node.whenTrue),
      node.colonToken,
      counted(f, node.whenFalse),
    );
  if (ts.isBinaryExpression(node) && LOGICAL.has(node.operatorToken.kind))
    return f.updateBinaryExpression(node, node.left, node.operatorToken, counted(f, node.right));
  return node;
}

const transformer: ts.TransformerFactory<ts.SourceFile> = (context) => (file) => {
  const visit = (node: ts.Node): ts.Node => instrumentNode(context.factory, ts.visitEachChild(node, visit, context));
  return ts.visitEachChild(file, visit, context);
};

function compile(source: string, fileName: string): string {
  return ts.transpileModule(source, {
    fileName,
    compilerOptions: {
      target: ts.ScriptTarget.ESNext,
      module: ts.ModuleKind.ESNext,
      verbatimModuleSyntax: true,
      inlineSourceMap: true,
    },
    transformers: { before: [transformer] },
  }).outputText;
}

/** From here on, modules whose URL `wants` are counted. */
export function registerCoverage(wants: (url: string) => boolean): void {
  registerHooks({
    load(url, context, next) {
      if (!wants(url)) return next(url, context);
      const path = fileURLToPath(url);
      return { format: 'module', shortCircuit: true, source: compile(readFileSync(path, 'utf8'), path) };
    },
  });
}
