<?php
// The settings that the image on Docker Hub has, from WORDPRESS_… or the file that WORDPRESS_…_FILE names.
function from_environment(string $name, string $otherwise): string
{
    $file = getenv("WORDPRESS_{$name}_FILE");
    if ($file !== false) {
        return rtrim(file_get_contents($file), "\r\n");
    }
    $value = getenv("WORDPRESS_$name");
    return $value === false ? $otherwise : $value;
}
define('DB_NAME', from_environment('DB_NAME', 'wordpress'));
define('DB_USER', from_environment('DB_USER', 'example username'));
define('DB_PASSWORD', from_environment('DB_PASSWORD', 'example password'));
define('DB_HOST', from_environment('DB_HOST', 'mysql'));
define('DB_CHARSET', from_environment('DB_CHARSET', 'utf8mb4'));
define('DB_COLLATE', from_environment('DB_COLLATE', ''));
foreach (['AUTH', 'SECURE_AUTH', 'LOGGED_IN', 'NONCE'] as $kind) {
    define("{$kind}_KEY", from_environment("{$kind}_KEY", sha1("{$kind} key")));
    define("{$kind}_SALT", from_environment("{$kind}_SALT", sha1("{$kind} salt")));
}
$table_prefix = from_environment('TABLE_PREFIX', 'wp_');
define('WP_DEBUG', (bool) from_environment('DEBUG', ''));
define('WP_HTTP_BLOCK_EXTERNAL', true);
if (!defined('ABSPATH')) {
    define('ABSPATH', __DIR__ . '/');
}
require_once ABSPATH . 'wp-settings.php';
