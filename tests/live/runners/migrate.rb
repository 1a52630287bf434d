# ActiveRecord's part of bin/rails db:migrate. migrate.rb FOLDER, connection by PG* variables.
require 'active_record'
require 'logger'
ActiveRecord::Base.establish_connection(adapter: 'postgresql', host: ENV['PGHOST'], port: ENV['PGPORT'],
                                        username: ENV['PGUSER'], database: ENV['PGDATABASE'])
ActiveRecord::MigrationContext.new(ARGV[0], ActiveRecord::SchemaMigration).migrate
puts ActiveRecord::Base.connection.select_values('SELECT version FROM schema_migrations ORDER BY 1')
