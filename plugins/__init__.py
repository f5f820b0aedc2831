"""Station's plugins, one package each; the folder's name is the plugin's name everywhere."""
