// Starts `aegis lsp` for the pipeline files of a workspace and hands everything to it. Decides nothing itself.

const { commands, window, workspace } = require('vscode');
const { LanguageClient } = require('vscode-languageclient/node');

/** Files that may be part of a pipeline; the server knows which of them are. */
const SELECTOR = [
  { scheme: 'file', language: 'yaml', pattern: '**/*.{yml,yaml}' },
  { scheme: 'file', pattern: '**/*.gitlab-ci.{yml,yaml}' },
  { scheme: 'file', pattern: '**/.gitlab-ci.{yml,yaml}' },
];

let client;

async function start() {
  const command = workspace.getConfiguration('aegis').get('command', 'aegis');
  client = new LanguageClient(
    'aegis',
    'Aegis',
    { command, args: ['lsp', '--stdio'] },
    {
      documentSelector: SELECTOR,
      synchronize: { fileEvents: workspace.createFileSystemWatcher('**/*.{yml,yaml}') },
    },
  );
  try {
    await client.start();
  } catch (error) {
    window.showErrorMessage(
      `Aegis could not be started (${command} lsp): ${error.message}. Install it with "pip install aegis-delivery", or set aegis.command.`,
    );
  }
}

async function activate(context) {
  context.subscriptions.push(
    commands.registerCommand('aegis.restart', async () => {
      await deactivate();
      await start();
    }),
  );
  await start();
}

async function deactivate() {
  if (client) {
    const running = client;
    client = undefined;
    await running.stop();
  }
}

module.exports = { activate, deactivate };
